"""An answer as long as one wants, with everything in it that models write."""

from __future__ import annotations

import itertools
import re

SAMPLE = """\
## Why the sky is blue

Sunlight is *scattered* by the air, and the **shorter** the wavelength the more: see
[Rayleigh](https://example.org/rayleigh) and `sky.py` below. What remains of the beam is redder,
which is why a setting sun is. None of this needs dust, or water; only the molecules.

1. Light comes in, all colours of it.
2. Air scatters it:
   - blue about **ten** times as much as red,
   - violet more still, but there is less of it and we see it badly.
3. We see what was scattered.

> The blue comes from all sides, the yellow from the sun alone.

```python
def scattered(wavelength: float) -> float:
    return (1 / wavelength) ** 4


for colour, wavelength in {"red": 700, "green": 530, "blue": 450}.items():
    print(colour, scattered(wavelength) / scattered(700))
```

| colour | wavelength | scattered |
|--------|-----------:|----------:|
| red    |        700 |       1.0 |
| blue   |        450 |       5.9 |

"""


def long_answer(count: int) -> list[str]:
    """Return so many tokens of Markdown."""
    tokens = re.findall(r"\s?\w+|\s?[^\w\s]|\s", SAMPLE)
    return list(itertools.islice(itertools.cycle(tokens), count))
