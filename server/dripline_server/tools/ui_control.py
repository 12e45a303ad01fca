"""Plain English requests to change the page, read by rules: words -> `ui_control` events.

The rules serve models that cannot call tools. They would rather miss a request than change the page
unasked, because a request to write or explain something reads much like a command ("make the button
red"). Four things keep them careful:

1. A message is read whole or not at all. It may hold courtesies and commands, and then another
   request to the model ("... and tell me a joke"); anything else, and it is not for the page.
2. A clause is a command only if one pattern of `_RULES` fits all of it.
3. Quoted text is one opaque word: it can be a colour, a label or a message, never a command.
4. Messages that are long, show code, or speak of code are not for the page.

To teach a new phrasing, add a line to `_RULES` and a row to the table in its test.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import webcolors

from dripline.events import AddButton, ChangeTheme, UiControl

# In characters. A longer message is a pasted text; the bound also bounds the work of every pattern.
MAX_REQUEST = 500
MAX_LABEL = 80
MAX_MESSAGE = 500

# Dark and light mode. Neither has a CSS name, so that `describe` can call them what they are.
DARK = "#1E1E1E"
LIGHT = "#FAFAFA"


# --- Colours and texts: also for values that come from elsewhere, such as a tool call ---

_HEX_BY_NAME: dict[str, str] = {
    name: webcolors.name_to_hex(name).upper() for name in webcolors.names()
} | {
    "rebeccapurple": "#663399",  # CSS Color 4, section 6.1; webcolors stops at level 3
}
_ALIASES = {"navyblue": "navy"}
_RGB = re.compile(r"rgb\(\s*([0-9]{1,3})[\s,]+([0-9]{1,3})[\s,]+([0-9]{1,3})\s*\)")
_HEX = re.compile(r"#(?:[0-9a-f]{3}|[0-9a-f]{6})")


def parse_color(text: str) -> str | None:
    """Return a colour as "#RRGGBB" in upper case, or None where the text is not a colour.

    Takes every CSS colour name in any case, also in words ("lightgreen", "Light Green",
    "light-grey"), "#RGB", "#RRGGBB" and "rgb(r, g, b)". Nothing that is not opaque.
    """
    text = text.strip().lower()
    if _HEX.fullmatch(text):
        digits: str = webcolors.normalize_hex(text)
        return digits.upper()
    if match := _RGB.fullmatch(text):
        red, green, blue = map(int, match.groups())
        return f"#{red:02X}{green:02X}{blue:02X}" if max(red, green, blue) <= 255 else None
    name = re.sub(r"[\s-]", "", text)
    return _HEX_BY_NAME.get(_ALIASES.get(name, name))


def parse_label(text: str) -> str | None:
    """Return what may stand on a button, on one line, or None where that is empty or too long."""
    return _one_line(text, MAX_LABEL)


def parse_message(text: str) -> str | None:
    """Return what a button may send, on one line, or None where that is empty or too long."""
    return _one_line(text, MAX_MESSAGE)


# Control characters, lone surrogates (not UTF-8), and the bidirectional controls that can make a
# label read differently from what it is. The joiners that emoji and many scripts need stay.
_UNWANTED = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")


def _one_line(text: str, longest: int) -> str | None:
    line = " ".join(_UNWANTED.sub("", " ".join(text.split())).split())
    visible = any(character.isprintable() and character != " " for character in line)
    return line if visible and len(line) <= longest else None


# --- The vocabulary of the rules; spaces in a sentence are single by the time that they meet it ---

_COURTESY = (
    "please|pls|plz|kindly|just|now|then|and|also|so|hi|hey|hello|there|dripline|ok|okay|alright|"
    "well|good|great|nice|cool|perfect|actually|yes|no(?=[,!]|$)|thanks|thank you|thx"
)
_ASK = (
    r"(?:(?:can|could|would|will) (?:you|u|we)|i(?:['’]d| would) like you to|"
    r"i (?:want|need) you to|let['’]?s)"
)
_LEAD = rf"(?:(?:{_COURTESY})[,!]* )*(?:{_ASK} (?:(?:please|kindly|just|now|also|then),? )*)?"
_PLEASE = r"(?:,? (?:please|pls|plz))"
_TAIL = (
    rf"(?:{_PLEASE}|,? (?:right now|now|again|instead|too|thanks|thank you|thx|for me))*[^\w)?:]*"
)

_WISH = (
    r"(?:i(?:['’]d| would) (?:like|love|prefer)|i (?:want|need)|(?:can|could|may) (?:i|we) have|"
    r"let['’]?s have|give me)"
)
_THING = r"(?:web ?page|page|background|bg|theme|screen|chat|ui)"
_COLOUR_WORD = r"(?:colou?r(?: (?:scheme|theme))?)"
_PAGE = (
    rf"(?:(?:the|this|your) )?(?:(?:whole|entire) )?"
    rf"(?:{_THING}(?:['’]s)?(?: {_THING})?(?: {_COLOUR_WORD})?|{_COLOUR_WORD})"
    rf"(?: (?:of|for|on) (?:(?:the|this|your) )?(?:(?:whole|entire) )?{_THING})?"
)
_MODE = r"(?:(?:dark|light)[ -]?(?:mode|theme)|night[ -]?mode)"

_QUOTED = "\0\\d+\0"  # what `_hide_quoted` leaves of a quoted text
_COLOUR = (
    rf"(?:an? )?(?:(?:nice|lovely|pretty|beautiful) )?(?:the colou?r )?"
    rf"(?P<color>{_QUOTED}|[\w#][\w (),-]*?)(?: colou?r)?"
)

_ADD = rf"(?:add|create|make(?: me)?|put|place|{_WISH})"
_ONE = r"(?:an?|another|one more|one)"
_BUTTON = rf"(?:{_ONE} )?(?:(?:new|extra) )?button"
_HERE = r"(?: (?:to|on|onto|in) (?:the|this|your) (?:page|screen|chat)| here)"
_NAMED = (
    r"(?:called|named|titled|labell?ed|saying|reading|(?:that|which) (?:says|reads|is (?:called|"
    r"named|labell?ed))|with (?:the )?(?:label|text|title|name|caption|words?))(?: as)?:?"
)
_SENDS = (
    r"(?:(?:that|which|and) (?:sends|asks|says)|to (?:send|ask|say)|sending|asking|"
    r"with the message)"
    r"(?: the (?:message|text|question))?:?"
)
_LABEL = rf"(?P<label>{_QUOTED}|[^\0]+?)"
_MESSAGE = rf"(?P<message>{_QUOTED}|[^\0]+?)"
_THERE = rf"{_HERE}?{_PLEASE}?"


# --- From a match to a command ---

# The slots that a clause fills: name -> text, quoted text without its quotes.
_Slots = dict[str, str]

# What these colours also are: "make it salmon" is about dinner. With a named target they are fine.
_ALSO_THINGS = re.compile(
    "bisque|chartreuse|chocolate|coral|gold|honeydew|khaki|lime|linen|moccasin|olive|orchid|peru|"
    "plum|salmon|seashell|sienna|silver|snow|tan|thistle|tomato|wheat"
)


def _theme(slots: _Slots) -> ChangeTheme | None:
    words = slots["color"].lower()
    if re.fullmatch(rf"dark|light|{_MODE}", words):
        return ChangeTheme(LIGHT if words.startswith("light") else DARK)
    color = parse_color(words)
    return ChangeTheme(color) if color else None


def _theme_off(slots: _Slots) -> ChangeTheme:
    return ChangeTheme(DARK if slots["color"].lower().startswith("light") else LIGHT)


def _theme_of_it(slots: _Slots) -> ChangeTheme | None:
    words = slots["color"].lower()
    if words in ("dark", "light") or _ALSO_THINGS.fullmatch(words):
        return None
    return _theme(slots)


def _button(slots: _Slots) -> AddButton | None:
    label = parse_label(slots["label"])
    message = parse_message(slots.get("message", slots["label"]))
    return AddButton(label, message) if label and message else None


@dataclass(frozen=True, slots=True)
class _Rule:
    """A phrasing: where `pattern` fits a whole clause, `read` makes the command, or refuses."""

    example: str
    pattern: re.Pattern[str]
    read: Callable[[_Slots], UiControl | None]


def _colour_rule(example: str, pattern: str, read: Callable[[_Slots], UiControl | None]) -> _Rule:
    return _Rule(example, re.compile(rf"{_LEAD}(?:{pattern}){_TAIL}", re.IGNORECASE), read)


def _button_rule(example: str, pattern: str) -> _Rule:
    # Its tail is short, because "Try again" and "No, thanks" are labels.
    return _Rule(example, re.compile(rf"{_LEAD}(?:{pattern}){_THERE}", re.IGNORECASE), _button)


_RULES = (
    _colour_rule(
        "change the colour to navy",
        rf"(?:change|set|switch|turn|make) {_PAGE} (?:back to|to be|to|into) {_COLOUR}",
        _theme,
    ),
    _colour_rule(
        "make the page navy", rf"(?:make|turn|paint|colou?r) {_PAGE} (?:be )?{_COLOUR}", _theme
    ),
    _colour_rule(
        "make it navy",
        # Not "make it an orange".
        rf"(?:(?:make|turn) (?:it|everything)|change (?:it|everything) (?:back )?to) "
        rf"(?!an? ){_COLOUR}",
        _theme_of_it,
    ),
    _colour_rule("use navy as background", rf"use {_COLOUR} (?:as|for) {_PAGE}", _theme),
    _colour_rule(
        "I'd like a navy background",
        rf"(?:{_WISH}|set|use|give (?:the|this) page) an? {_COLOUR} {_THING}",
        _theme,
    ),
    _colour_rule(
        "I'd like the page to be navy", rf"{_WISH} {_PAGE} (?:to be |in )?{_COLOUR}", _theme
    ),
    _colour_rule(
        "dark mode",
        rf"(?:(?:{_WISH}|(?:turn|switch) on|enable|activate|use|"
        rf"(?:switch|change|go|turn)(?: {_PAGE}| it| everything)? (?:to|into)) )?"
        rf"(?:an? |the )?(?P<color>{_MODE})",
        _theme,
    ),
    _colour_rule("turn dark mode on", rf"(?:turn|switch) (?P<color>{_MODE}) on", _theme),
    _colour_rule(
        "turn off dark mode",
        rf"(?:(?:turn|switch) off|disable|deactivate|leave|exit) (?:the )?(?P<color>{_MODE})",
        _theme_off,
    ),
    _colour_rule("turn dark mode off", rf"(?:turn|switch) (?P<color>{_MODE}) off", _theme_off),
    # Not "#404": three digits are more often an issue's number.
    _colour_rule("#90EE90", r"(?P<color>#(?:[0-9a-f]{6}|(?=[0-9]*[a-f])[0-9a-f]{3}))", _theme),
    _button_rule(
        'add a button called Help that sends "What can you do?"',
        rf"{_ADD} {_BUTTON}{_HERE}? {_NAMED} {_LABEL},? {_SENDS} {_MESSAGE}",
    ),
    _button_rule("add a button that says Help", rf"{_ADD} {_BUTTON}{_HERE}? {_NAMED} {_LABEL}"),
    _button_rule(
        "add a button that sends Tell me a joke", rf"{_ADD} {_BUTTON}{_HERE}? {_SENDS} {_LABEL}"
    ),
    _button_rule(
        'add a button "Help" that sends "What can you do?"',
        rf"{_ADD} {_BUTTON}{_HERE}?:? (?P<label>{_QUOTED})(?:,? {_SENDS} {_MESSAGE})?",
    ),
    _button_rule(
        'add a "Help" button that sends "What can you do?"',
        rf"{_ADD} an? (?P<label>{_QUOTED}) button{_HERE}?(?:,? {_SENDS} {_MESSAGE})?",
    ),
    # Not "a button for my coat", nor for the login form.
    _button_rule(
        "give me a button for jokes",
        rf"(?:add|create|make(?: me)?|put|give me) {_BUTTON}{_HERE}? for "
        rf"(?!(?:an?|the|my|your|our|his|her|its|their|this|that|these|those|each|every|all|some|any)"
        rf" ){_LABEL}",
    ),
)


# --- Reading a message ---

_QUOTATION = re.compile(
    r'"[^"\n]*"|“[^”\n]*”|„[^“”\n]*[“”]|«[^»\n]*»'
    # Single quotes are apostrophes too, so they open before and close after a whole word only.
    r"|(?<!\w)'[^'\n]*(?:'\w[^'\n]*)*'(?!\w)|(?<!\w)‘[^’\n]*(?:’\w[^’\n]*)*’(?!\w)"
)
# Outside quotes: marks and words of somebody's own program, site or document.
_NOT_FOR_THE_PAGE = re.compile(
    r"[`<>{}]|\b(?:css|html|svg|javascript|typescript|js|jsx|react|vue|svelte|angular|bootstrap|"
    r"tailwind|python|tkinter|qt|java|kotlin|swift|flutter|code|function|component|script|program|"
    r"variable|web ?site|app|form|div|file|toolbar|menu|header|footer|sidebar|navbar|dialog|popup|"
    r"panel|slides?|spreadsheet|excel|powerpoint|figma|wordpress|android|document|image|logo|"
    r"drawing)\b",
    re.IGNORECASE,
)
_COURTESIES = re.compile(rf"(?:(?:{_COURTESY})(?:[, ]+|$))+", re.IGNORECASE)
_POLITE_QUESTION = re.compile(
    rf"(?:(?:{_COURTESY})[,!]* )*(?:can|could|would|will|may) (?:you|u|we|i)\b|.*{_PLEASE}\?$",
    re.IGNORECASE,
)
# What may follow a command. Not "When clicked, it should turn red", so questions need their mark.
_ANOTHER_REQUEST = re.compile(
    rf"(?:(?:{_COURTESY}),? )*"
    r"(?:(?:tell me|say|sing|write me)\b|(?:what|why|who|when|where)\b.*\?$)",
    re.IGNORECASE,
)

# Not in an unquoted label: "a button that says Go that opens a window" asks for more than a button.
_MORE_THAN_A_LABEL = re.compile(
    r"\b(?:(?:that|which) (?:\w+s|will|can|should)|when (?:i|you|it|the user|clicked|pressed)|"
    r"(?:with|and) (?:(?:an?|the) )?(?:\w+ )?(?:background|colou?r|border|icon|font)|"
    r"(?:at|in|on) the (?:top|bottom|left|right|corner|middle|cent(?:er|re)|end)|"
    r"(?:to|on|in) my \w+$)\b",
    re.IGNORECASE,
)

_JOINT = r"(?:,? (?:and then|and also|and|then|plus)|,) (?:please )?"
_COMMAND_VERBS = "change|set|switch|turn|make|paint|use|enable|add|create|put|place|give me"
# "Add a button called Yes and another called No": the second has no verb, and may have no noun.
_NEXT_BUTTON = rf"{_ONE}(?: button| one)?(?= (?:{_NAMED} |\0))"
_BEFORE_COMMAND = re.compile(rf"{_JOINT}(?=(?:{_COMMAND_VERBS})\b|{_NEXT_BUTTON})", re.IGNORECASE)
_AND_A_BUTTON = re.compile(rf"^{_NEXT_BUTTON}", re.IGNORECASE)
_BEFORE_REQUEST = re.compile(
    rf"{_JOINT}(?=(?:{_COMMAND_VERBS}|tell me|say|sing|write me)\b)", re.IGNORECASE
)


def read_commands(text: str) -> list[UiControl]:
    """Return what a message asks of the page, in its order; [] where it does not ask or may not.

    Args:
        text: What the person wrote: the last user message alone, nothing that came from elsewhere.

    Never raises. The work is bounded by `MAX_REQUEST`, beyond which a message is not read.
    """
    text = text.strip()
    if len(text) > MAX_REQUEST:
        return []
    text, quotations = _hide_quoted(text)
    if _NOT_FOR_THE_PAGE.search(text):
        return []
    commands: list[UiControl] = []
    for clause in _clauses(text):
        if _COURTESIES.fullmatch(clause):
            continue
        if _ANOTHER_REQUEST.match(clause):
            return commands
        if commands and isinstance(commands[-1], AddButton):
            clause = _AND_A_BUTTON.sub("add a button", clause)
        command = _read_clause(clause, quotations)
        if command is None:
            return []
        commands.append(command)
    return commands


def _hide_quoted(text: str) -> tuple[str, list[str]]:
    """Return the text with its quoted parts as numbered marks, and what stood in the quotes."""
    quotations: list[str] = []

    def hide(match: re.Match[str]) -> str:
        quotations.append(match[0][1:-1])
        return f"\0{len(quotations) - 1}\0"

    return _QUOTATION.sub(hide, text.replace("\0", "")), quotations


def _clauses(text: str) -> Iterator[str]:
    """Give the sentences of each line, cut where a further command is joined on."""
    for line in text.splitlines():
        for sentence in re.split(r"(?<=[.!?…;]) ", " ".join(line.split())):
            sentence = sentence.rstrip(" .!…;,")
            if _POLITE_QUESTION.match(sentence):
                sentence = sentence.rstrip("?")
            # "A button that says Sit down and tell me a story" is one clause.
            joint = _BEFORE_COMMAND if "button" in sentence.lower() else _BEFORE_REQUEST
            yield from filter(None, joint.split(sentence))


def _read_clause(clause: str, quotations: Sequence[str]) -> UiControl | None:
    """Return the command of the first rule that fits the clause and does not refuse."""
    for rule in _RULES:
        if match := rule.pattern.fullmatch(clause):
            slots = {name: words for name, words in match.groupdict().items() if words is not None}
            if any(map(_MORE_THAN_A_LABEL.search, slots.values())):
                return None
            for name, words in slots.items():
                if words.startswith("\0"):
                    slots[name] = quotations[int(words.strip("\0"))]
            if command := rule.read(slots):
                return command
    return None


# --- Telling the model ---

# The first words of CSS's joined names: "lightgoldenrodyellow" is "light goldenrod yellow".
_FIRST_WORD = re.compile(
    "(light|dark|medium|pale|deep|hot|dim|alice|antique|blanched|blue|cadet|cornflower|dodger|"
    "floral|forest|ghost|goldenrod|green|indian|lavender|lawn|lemon|lime|midnight|mint|misty|navajo|"
    "old(?=lace)|olive|orange|papaya|peach|powder|rebecca|rosy|royal|saddle|sandy|sea(?!shell)|sky|"
    "slate|spring|steel|violet|white|yellow)(?=[a-z])"
)
# Of two names for one colour the later is the plainer: cyan, magenta, grey.
_NAME_BY_HEX = {
    value: _FIRST_WORD.sub(r"\1 ", name) for name, value in sorted(_HEX_BY_NAME.items())
} | {DARK: "dark mode", LIGHT: "light mode"}


def describe(commands: Sequence[UiControl]) -> str:
    """Return what tells the model what the page has just done, so that its answer fits.

    Begins with "[dripline] "; "" where there are no commands.
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
            name = _NAME_BY_HEX.get(color)
            shown = f"{name} ({color})" if name else color
            return f"The page's colour has just been changed to {shown}."
        case AddButton(label, message):
            return (
                f"A button labelled {_quoted(label)} has just been added to the page; "
                f"pressing it sends {_quoted(message)}."
            )


def _quoted(text: str) -> str:
    return '"' + text.replace('"', "'") + '"'
