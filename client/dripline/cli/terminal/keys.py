"""The keyboard during an answer: some keys act at once, the others are kept for the prompt."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from prompt_toolkit.input import Input
from prompt_toolkit.input.typeahead import store_typeahead
from prompt_toolkit.key_binding import KeyPress
from prompt_toolkit.keys import Keys

# How much typed-ahead text is kept; nobody types more than that without seeing it.
_MAX_TYPED_AHEAD = 10_000


@contextmanager
def raw(keyboard: Input) -> Iterator[None]:
    """Switch the terminal to raw input for the whole chat, so that each key arrives unchanged."""
    with keyboard.raw_mode():
        # Keys typed while the program started were not raw: the terminal turned Enter into Ctrl-J.
        presses = keyboard.read_keys()
        enters: dict[Keys | str, KeyPress] = {Keys.ControlJ: KeyPress(Keys.ControlM, "\r")}
        store_typeahead(keyboard, [enters.get(p.key, p) for p in presses])
        yield


@contextmanager
def watching(keyboard: Input, actions: Mapping[Keys, Callable[[], None]]) -> Iterator[None]:
    """Call the actions of keys that have one, in the running loop; keep the other keys.

    The terminal must be raw: it echoes nothing then, and typing ahead does not break what is drawn.
    """
    typed_ahead: list[KeyPress] = []

    def handle_keys() -> None:
        for press in keyboard.read_keys():
            action = actions.get(press.key) if isinstance(press.key, Keys) else None
            if action:
                action()
            elif len(typed_ahead) < _MAX_TYPED_AHEAD:
                typed_ahead.append(press)

    try:
        with keyboard.attach(handle_keys):
            yield
    finally:
        store_typeahead(keyboard, typed_ahead)
