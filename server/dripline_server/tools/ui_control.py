"""Plain English requests to change the page, read by rules: words -> `ui_control` events.

The rules serve models that cannot call tools. They would rather miss a request than change the page
unasked, because a request to write or explain something reads much like a command ("make the button
red"). Four things keep them careful:

1. A message is read whole or not at all. It may hold courtesies and commands, and then another
   request to the model ("... and tell me a joke"); anything else, and it is not for the page.
2. A clause is a command only if the pattern of one rule fits all of it.
3. Quoted text is one opaque word: it can be a colour, a label or a message, never a command.
4. Messages that are long, show code, or speak of code are not for the page.

The English is in `ui_phrases.toml`: the rules, and the words that they are made of.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

from dripline.events import (
    AddButton,
    ChangeAccent,
    ChangeTextSize,
    ChangeTheme,
    RemoveButton,
    UiControl,
    UndoChange,
)
from dripline_server.tools.ui_values import (
    DARK,
    LIGHT,
    color_name,
    parse_color,
    parse_label,
    parse_message,
)

# The page has no more.
MAX_BUTTONS = 12
# In characters. A longer message is a pasted text. The limit also bounds each pattern's work.
MAX_REQUEST = 500

# The slots that a clause fills: name -> text, quoted text without its quotes. The slot `labels` has
# a line for each label.
Slots = Mapping[str, str]
Words = str | list[str]
Commands = UiControl | list[UiControl]


def _change_theme(slots: Slots) -> ChangeTheme | None:
    words = slots["color"].lower()
    if words in ("dark", "light") or phrases().reading["mode"].fullmatch(words):
        return ChangeTheme(LIGHT if words.startswith("light") else DARK)
    color = parse_color(words)
    return ChangeTheme(color) if color else None


def _leave_theme(slots: Slots) -> ChangeTheme:
    return ChangeTheme(DARK if slots["color"].lower().startswith("light") else LIGHT)


def _change_theme_of_it(slots: Slots) -> ChangeTheme | None:
    words = slots["color"].lower()
    if words in ("dark", "light") or phrases().reading["also_a_thing"].fullmatch(words):
        return None
    return _change_theme(slots)


def _add_button(slots: Slots) -> AddButton | None:
    label = parse_label(slots["label"])
    message = parse_message(slots.get("message", slots["label"]))
    return AddButton(label, message) if label and message else None


def _add_buttons(slots: Slots) -> list[UiControl] | None:
    buttons: list[UiControl] = []
    for label in map(parse_label, slots["labels"].split("\n")):
        if label is None:
            return None
        buttons.append(AddButton(label, label))
    return buttons if len(buttons) <= MAX_BUTTONS else None


def _remove_button(slots: Slots) -> RemoveButton | None:
    label = parse_label(slots["label"])
    return RemoveButton(label) if label else None


def _change_accent(slots: Slots) -> ChangeAccent | None:
    color = parse_color(slots["color"])
    return ChangeAccent(color) if color else None


# The actions of the rules in `ui_phrases.toml`.
_DOES: dict[str, Callable[[Slots], Commands | None]] = {
    "change_theme": _change_theme,
    "change_theme_of_it": _change_theme_of_it,
    "leave_theme": _leave_theme,
    "add_button": _add_button,
    "add_buttons": _add_buttons,
    "remove_button": _remove_button,
    "change_accent": _change_accent,
    "larger_text": lambda _: ChangeTextSize("larger"),
    "smaller_text": lambda _: ChangeTextSize("smaller"),
    "normal_text": lambda _: ChangeTextSize("normal"),
    "undo_last": lambda _: UndoChange("last"),
    "undo_all": lambda _: UndoChange("all"),
}


@dataclass(frozen=True, slots=True)
class Rule:
    """A phrasing.

    Attributes:
        example: A message that it matches.
        pattern: Matches a whole clause.
        read: Makes the commands from the clause's slots, or refuses.
    """

    example: str
    pattern: re.Pattern[str]
    read: Callable[[Slots], Commands | None]


def _expanded(words: Words, parts: Mapping[str, Words]) -> str:
    """Return a pattern with its {parts} filled in."""
    pattern = words if isinstance(words, str) else "|".join(words)
    return re.sub(
        r"\{([a-z_]+)\}", lambda named: f"(?:{_expanded(parts[named[1]], parts)})", pattern
    )


class Phrases(NamedTuple):
    """The contents of `ui_phrases.toml`, compiled.

    Attributes:
        rules: The rules, in their order.
        reading: The patterns that split a message, by name.
    """

    rules: Sequence[Rule]
    reading: Mapping[str, re.Pattern[str]]


@cache
def phrases() -> Phrases:
    """Return the phrases. The first call compiles them, which takes 0.03 s of CPU time."""
    file = tomllib.loads(Path(__file__).with_name("ui_phrases.toml").read_text("utf-8"))

    def compiled(words: Words) -> re.Pattern[str]:
        return re.compile(_expanded(words, file["parts"]), re.IGNORECASE)

    rules = []
    for rule in file["rules"]:
        tail = "{button_tail}" if rule["does"] in ("add_button", "add_buttons") else "{tail}"
        pattern = compiled(f"{{lead}}(?:{rule['pattern']}){tail}")
        rules.append(Rule(rule["example"], pattern, _DOES[rule["does"]]))
    return Phrases(rules, {name: compiled(words) for name, words in file["reading"].items()})


def read_commands(text: str) -> list[UiControl]:
    """Return the page changes that a message asks for, in order; [] if there are none.

    Args:
        text: Only the user's last message, without any text from other sources.

    Never raises. The work is bounded by `MAX_REQUEST`, beyond which a message is not read.
    """
    text = text.strip()
    if len(text) > MAX_REQUEST:
        return []
    text, quotations = _hide_quoted(text)
    if phrases().reading["not_for_the_page"].search(text):
        return []
    commands: list[UiControl] = []
    for clause in _clauses(text):
        if phrases().reading["courtesies"].fullmatch(clause):
            continue
        if phrases().reading["another_request"].match(clause):
            return commands
        if commands and isinstance(commands[-1], AddButton):
            clause = phrases().reading["and_a_button"].sub("add a button", clause)
        read = _read_clause(clause, quotations)
        if read is None:
            return []
        commands += read if isinstance(read, list) else [read]
    return commands


def _hide_quoted(text: str) -> tuple[str, list[str]]:
    """Return the text with numbered marks for its quoted parts, and the quoted texts."""
    quotations: list[str] = []

    def hide(match: re.Match[str]) -> str:
        quotations.append(match[0][1:-1])
        return f"\0{len(quotations) - 1}\0"

    return phrases().reading["quotation"].sub(hide, text.replace("\0", "")), quotations


def _clauses(text: str) -> Iterator[str]:
    """Yield the sentences of each line, split where another command is joined on."""
    for line in text.splitlines():
        for sentence in re.split(r"(?<=[.!?…;]) ", " ".join(line.split())):
            sentence = sentence.rstrip(" .!…;,")
            if phrases().reading["polite_question"].match(sentence):
                sentence = sentence.rstrip("?")
            # "A button that says Sit down and tell me a story" is one clause.
            joint = "before_command" if "button" in sentence.lower() else "before_request"
            yield from filter(None, phrases().reading[joint].split(sentence))


def _read_clause(clause: str, quotations: Sequence[str]) -> Commands | None:
    """Return the commands of the first rule that matches the clause and does not refuse."""
    for rule in phrases().rules:
        if match := rule.pattern.fullmatch(clause):
            slots = {name: words for name, words in match.groupdict().items() if words is not None}
            if any(map(phrases().reading["more_than_a_label"].search, slots.values())):
                return None
            for name, words in slots.items():
                slots[name] = "\n".join(
                    quotations[int(piece.strip("\0"))] if piece.startswith("\0") else piece
                    for piece in _pieces(name, words)
                )
            if command := rule.read(slots):
                return command
    return None


def _pieces(name: str, words: str) -> list[str]:
    """Return the labels of the slot `labels`, or the one text of any other slot."""
    return phrases().reading["between_labels"].split(words) if name == "labels" else [words]


def describe(commands: Sequence[UiControl]) -> str:
    """Return a note that tells the model what the page has just done, so that its answer fits.

    The note begins with "[dripline] ". Without commands it is "".
    """
    if not commands:
        return ""
    done = " ".join(map(_describe_one, commands))
    return (
        f"[dripline] {done} Confirm it briefly; do not say that you cannot do it. "
        "If the message asks for anything else, answer that too."
    )


def _describe_one(command: UiControl) -> str:
    match command:
        case ChangeTheme(color):
            name = color_name(color)
            shown = f"{name} ({color})" if name else color
            return f"The page's colour has just been changed to {shown}."
        case AddButton(label, message):
            return (
                f"A button labelled {_quoted(label)} has just been added to the page; "
                f"pressing it sends {_quoted(message)}."
            )
        case ChangeAccent(color):
            return f"The colour of the page's links and buttons has just been changed to {color}."
        case ChangeTextSize(size):
            return f"The page's text size has just been changed: {size}."
        case RemoveButton(label):
            return f"A button labelled {_quoted(label)} has just been removed from the page."
        case UndoChange("last"):
            return "The last change of the page has just been undone."
        case UndoChange():
            return "All changes of the page have just been undone."


def _quoted(text: str) -> str:
    return '"' + text.replace('"', "'") + '"'
