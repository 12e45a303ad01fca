"""The keyboard while an answer comes: some keys act at once, the others wait for the prompt."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from prompt_toolkit.input import Input
from prompt_toolkit.input.typeahead import store_typeahead
from prompt_toolkit.key_binding import KeyPress
from prompt_toolkit.keys import Keys

# What is typed ahead is kept up to here; nobody types more than that blindly.
_MAX_TYPED_AHEAD = 10_000


@contextmanager
def raw(keyboard: Input) -> Iterator[None]:
    """Have the terminal hand over every key as it is, for the whole chat."""
    with keyboard.raw_mode():
        # What was typed while the program started was cooked: its Enter has become Ctrl-J.
        presses = keyboard.read_keys()
        enters: dict[Keys | str, KeyPress] = {Keys.ControlJ: KeyPress(Keys.ControlM, "\r")}
        store_typeahead(keyboard, [enters.get(p.key, p) for p in presses])
        yield


@contextmanager
def watching(keyboard: Input, actions: Mapping[Keys, Callable[[], None]]) -> Iterator[None]:
    """Call the action of each key that has one, in the running loop; keep the others.

    The terminal must be raw: it echoes nothing then, and typing ahead does not break what is drawn.
    """
    typed_ahead: list[KeyPress] = []

    def take_keys() -> None:
        for press in keyboard.read_keys():
            action = actions.get(press.key) if isinstance(press.key, Keys) else None
            if action:
                action()
            elif len(typed_ahead) < _MAX_TYPED_AHEAD:
                typed_ahead.append(press)

    try:
        with keyboard.attach(take_keys):
            yield
    finally:
        store_typeahead(keyboard, typed_ahead)
