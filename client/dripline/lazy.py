"""Import public names when they are first used.

Otherwise `import dripline` would import aiohttp and asyncio, which needs 0.3 s, although a command
that prints its help needs neither.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module


def lazy_names(package: str, modules: Mapping[str, str]) -> Callable[[str], object]:
    """Return a package's `__getattr__` (PEP 562).

    Type checkers do not understand it. The package must therefore import the same names under
    `if TYPE_CHECKING`; a test checks that both lists agree.

    Args:
        package: The package's `__name__`.
        modules: For each module, its names separated by spaces.
    """
    module_of = {name: module for module, names in modules.items() for name in names.split()}

    def __getattr__(name: str) -> object:  # noqa: N807 (it becomes the package's)
        if name not in module_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value: object = getattr(import_module(module_of[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    return __getattr__
