"""Requests to change the page, read by rules: what is one, what is not, and what comes of it."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import webcolors
from hypothesis import given
from hypothesis import strategies as st

from dripline.events import (
    AddButton,
    ChangeAccent,
    ChangeTextSize,
    ChangeTheme,
    RemoveButton,
    UiControl,
    UndoChange,
    from_json,
    to_json,
)
from dripline_server.tools.ui_control import MAX_REQUEST, Rule, describe, phrases, read_commands
from dripline_server.tools.ui_values import (
    DARK,
    LIGHT,
    MAX_LABEL,
    MAX_MESSAGE,
    parse_color,
    parse_label,
    parse_message,
)


def theme(color: str) -> list[UiControl]:
    """The one command that gives the page this colour."""
    return [ChangeTheme(color)]


def button(label: str, message: str | None = None) -> list[UiControl]:
    """The one command that adds a button, which sends its label where no message is given."""
    return [AddButton(label, label if message is None else message)]


BLUE, NAVY, RED, GREEN, PINK = "#0000FF", "#000080", "#FF0000", "#008000", "#FFC0CB"
LIGHT_GREEN = "#90EE90"

# name -> what a person writes, and what the page should do
COMMANDS: dict[str, tuple[str, list[UiControl]]] = {
    # Changing the colour
    "change-color": ("Change color to light green", theme(LIGHT_GREEN)),
    "british-and-please": ("Change the colour to light green please", theme(LIGHT_GREEN)),
    "one-word-name": ("change the color to lightgreen", theme(LIGHT_GREEN)),
    "hyphenated-name": ("change the color to light-green", theme(LIGHT_GREEN)),
    "camel-case-name": ("change the color to LightGreen", theme(LIGHT_GREEN)),
    "quoted-name": ('change the colour to "light green"', theme(LIGHT_GREEN)),
    "british-grey": ("change the colour to light grey", theme("#D3D3D3")),
    "american-gray": ("change the color to light gray", theme("#D3D3D3")),
    "three-words": ("change the color to light goldenrod yellow", theme("#FAFAD2")),
    "shouted": ("CHANGE THE COLOR TO RED!!!", theme(RED)),
    "terse": ("change background to blue", theme(BLUE)),
    "set-background-color": ("set background color to teal", theme("#008080")),
    "abbreviated-background": ("pls make the bg blue", theme(BLUE)),
    "switch-the-page": ("switch the page to pink", theme(PINK)),
    "change-back": ("change the background back to white", theme("#FFFFFF")),
    "colour-of-the-page": ("make the color of the page blue", theme(BLUE)),
    "background-of-this-page": ("Change the background of this page to navy", theme(NAVY)),
    "possessive": ("Set the page's background colour to navy.", theme(NAVY)),
    "colour-scheme": ("set the colour scheme to navy", theme(NAVY)),
    "whole-page": ("turn the whole page red", theme(RED)),
    "your-background": ("make your background red", theme(RED)),
    "screen": ("turn the screen black", theme("#000000")),
    "the-colour-red": ("set the background to the colour red", theme(RED)),
    "to-be": ("set the background to be red", theme(RED)),
    "make": ("make the background navy", theme(NAVY)),
    "navy-blue": ("make the background navy blue", theme(NAVY)),
    "make-it": ("make it dark blue", theme("#00008B")),
    "make-everything": ("make everything pink", theme(PINK)),
    "change-it-back": ("change it back to white", theme("#FFFFFF")),
    "no-make-it": ("No, make it red instead", theme(RED)),
    "turn": ("turn the page pink", theme(PINK)),
    "paint": ("paint the page red", theme(RED)),
    "colour-as-verb": ("colour the background blue", theme(BLUE)),
    "a-nice": ("make the page a nice light green", theme(LIGHT_GREEN)),
    "thing-as-colour-of-a-named-target": ("make the page salmon", theme("#FA8072")),
    "hex": ("set the theme to #336699", theme("#336699")),
    "hex-of-three": ("make the page #abc", theme("#AABBCC")),
    "hex-alone": ("#abc", theme("#AABBCC")),
    "hex-alone-of-six-digits": ("#336699", theme("#336699")),
    "rgb": ("set the background to rgb(1, 2, 3), please", theme("#010203")),
    "use-as": ("use rebeccapurple as background", theme("#663399")),
    "use-for": ("use navy for the background", theme(NAVY)),
    "wish": ("I'd like a green background", theme(GREEN)),
    "wish-with-typographic-apostrophe": ("I’d like a green background", theme(GREEN)),
    "wish-that-the-page-be": ("I want the page to be red", theme(RED)),
    "wish-as-question": ("Can I have a pink page, please?", theme(PINK)),
    "give-me": ("give me a blue theme", theme(BLUE)),
    "lets": ("let's make it blue", theme(BLUE)),
    "emoji-after": ("make it pink 🌸", theme(PINK)),
    # Dark and light
    "dark-mode": ("dark mode", theme(DARK)),
    "light-mode": ("Light mode!", theme(LIGHT)),
    "night-mode": ("night mode please", theme(DARK)),
    "dark-mode-as-question": ("can you switch to dark mode?", theme(DARK)),
    "dark-mode-on": ("turn dark mode on", theme(DARK)),
    "turn-on-dark-mode": ("turn on dark mode", theme(DARK)),
    "dark-mode-off": ("turn off dark mode", theme(LIGHT)),
    "light-mode-off": ("turn light mode off", theme(DARK)),
    "theme-to-dark": ("set the theme to dark", theme(DARK)),
    "page-dark": ("make the page dark", theme(DARK)),
    "dark-theme": ("I'd like a dark theme", theme(DARK)),
    # Courtesies around a command, and other requests after it
    "greeting": ("Hi there! Could you please make the page blue? Thanks!", theme(BLUE)),
    "called-by-name": ("Hey dripline, make the page blue", theme(BLUE)),
    "i-would-like-you-to": ("I would like you to make the page blue.", theme(BLUE)),
    "question-mark-for-please": ("make it blue please?", theme(BLUE)),
    # Buttons
    "button-says": ("add a button that says Tell me a joke", button("Tell me a joke")),
    "button-labelled-sends": (
        'add a button labelled "Help" that sends "What can you do?"',
        button("Help", "What can you do?"),
    ),
    "button-unquoted-message": (
        "Add a button called Help that sends What can you do?",
        button("Help", "What can you do?"),
    ),
    "button-quoted-and-sends": ('add a button "Go" that sends "Hi"', button("Go", "Hi")),
    "button-asks-in-a-question": (
        'Can you add a button called Help which asks "What can you do?"?',
        button("Help", "What can you do?"),
    ),
    "button-quoted-adjective": ('add a "Help" button', button("Help")),
    "button-quoted-only": ("add a button: “Help”", button("Help")),
    "button-single-quotes": ("add a button named 'What's new?'", button("What's new?")),
    "button-that-sends": ("add a button that sends Good morning", button("Good morning")),
    "button-for": ("give me a button for jokes", button("jokes")),
    "button-put-here": ("Put a button that says Help here, please", button("Help")),
    "button-on-the-page": ("put a button on the page that says Help", button("Help")),
    "button-to-the-page": ("add a button that says Help to the page", button("Help")),
    "button-wish": ("I'd like a button that says Stop", button("Stop")),
    "button-no-article": ("add button saying hello", button("hello")),
    "button-question-as-label": (
        "add a button that says What time is it?",
        button("What time is it?"),
    ),
    "button-polite-question": ("Could you add a button that says Help?", button("Help")),
    "button-label-like-a-tail": ("add a button that says Try again", button("Try again")),
    "button-label-of-thanks": ("add a button that says No thanks", button("No thanks")),
    "button-label-with-and": ("add a button called Salt and pepper", button("Salt and pepper")),
    "button-label-of-a-place": ("add a button called Back to the top", button("Back to the top")),
    "button-label-is-a-command": (
        'add a button that says "make the page red"',
        button("make the page red"),
    ),
    "button-label-with-code-in-quotes": (
        'add a button called "Code" that sends "Write Python code with <b> in it."',
        button("Code", "Write Python code with <b> in it."),
    ),
    "button-other-script": ("add a button that says 「冗談を言って」", button("「冗談を言って」")),
    "button-joined-emoji": ("add a button that says 👩‍👩‍👧 Family", button("👩‍👩‍👧 Family")),
    "button-label-like-a-hidden-quotation": ("add a button called \0" + "0\0", button("0")),
    "button-label-is-cleaned": (
        'add a button called "a\tb\x07c\u202ed  e"',
        button("a bcd e"),
    ),
    # What else the page can do
    "buttons-at-once": (
        "add buttons called Yes, No and Maybe",
        button("Yes") + button("No") + button("Maybe"),
    ),
    "buttons-at-once-quoted": ('add buttons "Yes" and "No, no"', button("Yes") + button("No, no")),
    "buttons-at-once-colon": ("Create two buttons: Yes, No", button("Yes") + button("No")),
    "button-removed": ("please remove the Help button", [RemoveButton("Help")]),
    "button-removed-quoted": ('delete the button called "Sit down"', [RemoveButton("Sit down")]),
    "accent-alone": ("Make the accent colour red", [ChangeAccent(RED)]),
    "text-larger": ("increase the font size", [ChangeTextSize("larger")]),
    "text-smaller": ("make the text a bit smaller, please", [ChangeTextSize("smaller")]),
    "text-normal": ("reset the text size", [ChangeTextSize("normal")]),
    "undo": ("Undo that, please", [UndoChange("last")]),
    "undo-all": ("undo all changes", [UndoChange("all")]),
    "page-reset": ("reset the page", [UndoChange("all")]),
    # Several, in their order
    "two-buttons": (
        "create a button called Yes and a button called No",
        button("Yes") + button("No"),
    ),
    "three-buttons": (
        'add a button called Yes, another button called No and one that says "Maybe"',
        button("Yes") + button("No") + button("Maybe"),
    ),
    "colour-then-button": (
        "Make it blue, then add a button that says Hi",
        theme(BLUE) + button("Hi"),
    ),
    "button-then-colour": (
        'Add a button called "Hi" and make the page blue.',
        button("Hi") + theme(BLUE),
    ),
    "two-sentences": (
        "Make the page blue. Also add a button called Hi.",
        theme(BLUE) + button("Hi"),
    ),
    "two-lines": ("make it blue\r\nmake it red\n", theme(BLUE) + theme(RED)),
    "semicolon": ("make the page blue; add a button called Hi", theme(BLUE) + button("Hi")),
}

# The same, where another request to the model follows: that one may go on as it likes.
COMMANDS_AND_MORE: dict[str, tuple[str, list[UiControl]]] = {
    "then-a-joke": ("Change color to red and tell me a joke. Make it short.", theme(RED)),
    "then-a-question": ("Make it red. Why is the sky blue?", theme(RED)),
    "then-a-question-about-the-page": ("dark mode please. What do you think?", theme(DARK)),
}

# name -> what a person writes that the page must leave alone
NOT_COMMANDS: dict[str, str] = {
    "undo-of-a-text": "undo my last sentence",
    "text-longer": "make the text about cats longer",
    "text-bold": "make the text bold",
    "shirt-buttons": "make buttons for shirts and trousers",
    "too-many-buttons": "add buttons called " + ", ".join("abcdefghijklm"),
    "paragraph-removed": "remove the last paragraph",
    "buttons-of-a-coat": "sew buttons on my coat, and iron it",
    "buttons-asked-of-the-model": "Give me buttons for yes and no",
    "accent-of-a-speaker": "make the accent Scottish",
    "reset-of-a-device": "reset the router",
    "undo-in-git": "undo the last commit",
    "smaller-words": "make the words smaller",
    # Talk about colours
    "question": "what is the color of the sky?",
    "question-why": "why is the sky blue?",
    "statement": "the page in my book is yellow",
    "statement-about-the-page": "the colour of the page is navy",
    "poem": "Roses are red",
    "past": "I painted my room light green",
    "reported": "I said make it blue",
    "asked-afterwards": "why did you make it blue?",
    "explain": "explain dark mode",
    "opinion": "dark mode is nice",
    "preference": "I prefer dark mode",
    "comparison": "dark mode or light mode?",
    "dark-mode-asked-about": "Dark mode?",
    "how-to": "how do I turn on dark mode?",
    "condition": "If you make it blue I will like it",
    "suggestion": "You could make the background navy",
    "should-I": "Should I make the background navy?",
    "asking-back": "make it blue?",
    "colour-alone": "light green",
    "number-of-an-issue": "#404",
    # Not to be done
    "dont": "don't change the colour to red",
    "please-dont": "please do not make the background navy",
    "never": "never make the background navy",
    "could-you-not": "could you not make it blue?",
    "no-dark-mode": "No dark mode please",
    "dont-add-a-button": "don't add a button that says Help",
    # Commands to something else
    "variable": "change the color of the variable to red",
    "text": "make the text red",
    "a-button-there-is": "make the button blue",
    "slide": "make the background of the slide navy",
    "wall": "paint the wall white",
    "hair": "change my hair color to red",
    "accent": "use red as the accent color",
    "flavour": "use orange as flavouring",
    "car": "I want a red car",
    "coffee": "can I have a black coffee?",
    "wedding": "create a red theme for my wedding",
    "phone": "turn on dark mode on my iPhone",
    "editor": "I'd like dark mode in my editor",
    "word-processor": "change the background to navy in Word",
    "light-that-is-green": "turn the light green",
    "turn-the-page": "turn the page",
    "snow": "Make it snow",
    "song": "Paint it black",
    "dinner": "make it salmon",
    "fruit": "make it an orange",
    "mood": "make it dark",
    "go-green": "go green",
    "monday": "make it Blue Monday",
    "music": "set the background to music",
    "alarm": "set the page to wake me at six",
    # What the page cannot do exactly is not done by half
    "no-colour": "change the color",
    "no-such-colour": "set the theme to Christmas",
    "comparative": "make the background darker",
    "two-colours": "make it blue or green",
    "anything-but": "change the color to anything but red",
    "and-bold": "make it red and bold",
    "and-the-text": "make the background black and the text white",
    "second-command-unknown": "make the page blue and add a link",
    "hex-too-short": "make the page #12",
    "hex-of-five": "make the page #12345",
    "hex-too-long": "make the page #1234567",
    "rgb-too-large": "set the background to rgb(256, 0, 0)",
    "rgba": "set the background to rgba(1, 2, 3, 0.5)",
    "transparent": "make the page transparent",
    # Work on code, pages and texts
    "css-question": "how do I change the background color in CSS?",
    "css-command": "Make the background blue in CSS",
    "function": "write a function that makes the button red",
    "declaration": "background: navy",
    "assignment": "color = red",
    "rule": "body { background: navy; }",
    "element": "<b>make it blue</b>",
    "code": "`make the background navy`",
    "code-block": "make it blue\n```\nmake it red\n```",
    "add-dark-mode": "add dark mode",
    "after-a-task": "Write a web page. Make the background blue.",
    "after-a-drawing": "Draw a car. Make it red.",
    "after-a-paste": "Here is my page.\nChange the color to red.",
    "before-a-detail": "Make the background blue. Use flexbox for layout.",
    "before-a-condition": "Make the background blue. When clicked, it should turn red.",
    "before-something": "Make the background blue:",
    "before-a-paste": "Make the background blue:\n\nOnce upon a time",
    "task-in-one-sentence": "tell me a joke and make it blue",
    "script-in-one-sentence": "Write a scene to open the door and change the color to red",
    # Other people's words
    "quoted": '"make the background navy"',
    "quoted-typographically": "“make the background navy”",
    "quoted-single": "'make the background navy'",
    "meaning": "what does 'make the background navy' mean?",
    "translate": "Translate into German:\nMake the background navy",
    "translate-one-line": "Translate: make the background navy",
    "summarise": "Summarise this: make the background navy",
    "markdown-quote": "> make the background navy",
    "list-item": "- make the background navy",
    "numbered-item": "1. Make the background navy",
    "transcript": "User: make the page blue",
    "simon-says": "Simon says make the page blue",
    # Buttons
    "button-without-label": "add a button",
    "button-empty-label": 'add a button called ""',
    "button-invisible-label": 'add a button called "\u200d\u2060"',
    "button-long-label": f"add a button that says {'long ' * 20}",
    "button-how-to": "How do I add a button that says Submit?",
    "button-there-is": "There is a button that says Stop",
    "button-press": "press the button that says Stop",
    "button-clause-alone": "a button called Yes",
    "button-on-a-coat": "add a button to my coat",
    "button-for-a-coat": "give me a button for my coat",
    "button-of-wood": "make a button out of wood",
    "button-login-form": "add a button for the login form",
    "button-in-a-form": "add a button that says Submit to my form",
    "button-in-a-letter": "can you add a button that says Help to my letter?",
    "button-in-react": "add a button that says Submit in React",
    "button-quoted-elsewhere": 'add a button that says "Submit" to the letter',
    "button-that-opens": "add a button that opens a dialog",
    "button-says-and-opens": "add a button that says Go that opens a window",
    "button-when-clicked": "add a button that says Go when I click it",
    "button-of-markup": "add a button that says <b>Go</b>",
    "button-with-a-style": "add a button with text Go and a red background",
    "button-in-a-place": "add a button that says Go at the bottom",
    "button-half-quoted": 'add a button that says Say "hi" to Bob',
    "button-ambiguous-and": "add a button that says Stop and add a note",
    "button-coloured": "add a red button that says Stop",
    "nothing": "",
    "only-courtesy": "Hi there, thanks!",
    "only-marks": "?! … .",
}

TABLE = COMMANDS | COMMANDS_AND_MORE | {name: (text, []) for name, text in NOT_COMMANDS.items()}


def cases(table: dict[str, tuple[str, list[UiControl]]]) -> pytest.MarkDecorator:
    """Run a test with every row of a table, under the row's name."""
    rows = [pytest.param(*row, id=name) for name, row in table.items()]
    return pytest.mark.parametrize(("text", "expected"), rows)


def test_the_table_is_large_and_mostly_about_what_is_not_a_command() -> None:
    """Most of the table is about leaving the page alone."""
    assert len(TABLE) == len(COMMANDS) + len(COMMANDS_AND_MORE) + len(NOT_COMMANDS) >= 120
    assert len(NOT_COMMANDS) * 2 >= len(TABLE)


@cases(TABLE)
def test_a_message_gives_its_commands(text: str, expected: list[UiControl]) -> None:
    """A message gives the commands that a person would expect, and no others."""
    assert read_commands(text) == expected


@pytest.mark.parametrize("rule", phrases().rules, ids=lambda rule: rule.example)
def test_every_rule_reads_its_own_example(rule: Rule) -> None:
    """The example that names a rule is read by that rule, not by an earlier one."""
    commands = read_commands(rule.example)
    assert len(commands) == 1
    marked = re.sub('"[^"]*"', "\0" + "0\0", rule.example)
    assert next(other for other in phrases().rules if other.pattern.fullmatch(marked)) is rule


@pytest.mark.parametrize("name", [*webcolors.names(), "rebeccapurple"])
def test_every_css_colour_name_is_known(name: str) -> None:
    """Every CSS colour name works in several phrasings, and in any case."""
    color = "#663399" if name == "rebeccapurple" else webcolors.name_to_hex(name).upper()
    assert read_commands(f"change the color to {name}") == theme(color)
    assert read_commands(f"Could you make the background {name.upper()}, please?") == theme(color)
    assert read_commands(f"I'd like a {name.title()} background.") == theme(color)


@pytest.mark.parametrize("name", [*webcolors.names(), "rebeccapurple"])
def test_the_name_that_the_model_is_told_is_one_that_a_person_can_say(name: str) -> None:
    """The words for a colour in `describe` are themselves a name of that colour."""
    [command] = read_commands(f"make the page {name}")
    told = re.search(r"changed to ([a-z ]+) \(#", describe([command]))
    assert told is not None
    assert read_commands(f"make the page {told[1]}") == [command]


COURTEOUS = st.sampled_from(
    ["", "Please ", "can you ", "Could you please ", "OK, now ", "hey ", "Hi! ", "I'd like you to "]
)
COMMAND = st.sampled_from(
    [
        ("change the color to red", theme(RED)),
        ("make the background navy", theme(NAVY)),
        ("make it light green", theme(LIGHT_GREEN)),
        ("turn on dark mode", theme(DARK)),
        ("use #abc as the background", theme("#AABBCC")),
        ('add a button that says "Help me"', button("Help me")),
        ("create a button called 'Yes' and a button called 'No'", button("Yes") + button("No")),
    ]
)
ENDING = st.sampled_from(
    ["", ".", "!", "!!!", " please", ", please.", " \n", "...", "…", ". Thanks!"]
)
CASE = st.sampled_from([str, str.upper, str.lower, str.title, str.swapcase])


@given(COURTEOUS, COMMAND, ENDING, CASE)
def test_courtesy_punctuation_and_case_change_nothing(
    lead: str, command: tuple[str, list[UiControl]], ending: str, case: Callable[[str], str]
) -> None:
    """However politely, loudly or carelessly a request is written, it means the same."""
    sentence, expected = command
    # What is in quotes is the person's own: only the words around it change their case.
    shaped = "".join(
        part if part[0] in "'\"" else case(part)
        for part in re.findall(r"""(?<!\w)'[^']*'|"[^"]*"|(?:[^'"]|(?<=\w)')+""", lead + sentence)
    )
    assert read_commands(shaped + ending) == expected


@given(COMMAND, st.text("\t \u00a0\u2003", min_size=1, max_size=5))
def test_any_space_is_a_space(command: tuple[str, list[UiControl]], space: str) -> None:
    """Doubled, non-breaking and other spaces between words change nothing."""
    sentence, expected = command
    assert read_commands(space + sentence.replace(" ", space) + space) == expected


@cases(COMMANDS)
@pytest.mark.parametrize(
    "around",
    [
        "Don't {}",
        "How do I {}?",
        "He told me: {}",
        "Write an essay.\n{}",
        "`{}`",
        "> {}",
        "1. {}",
        "{} in CSS",
        "{}\n```",
        "{}\nOnce upon a time there was a king.",
    ],
)
def test_a_command_within_something_else_is_not_for_the_page(
    text: str, expected: list[UiControl], around: str
) -> None:
    """A command that is forbidden, asked about, told, set as a task or pasted is left alone."""
    assert expected
    assert read_commands(around.format(text)) == []


def test_a_message_over_the_limit_is_not_read() -> None:
    """A long text is a pasted one; spaces around a short one do not make it long."""
    command = 'add a button called "Hi" that sends "{}"'
    text = "x" * (MAX_REQUEST - len(command) + len("{}"))
    assert read_commands(command.format(text)) == button("Hi", text)
    assert read_commands(command.format(text + "x")) == []
    assert read_commands(" " * 2**20 + "make it blue" + "\n" * 2**20) == theme(BLUE)


@pytest.mark.parametrize(
    "piece",
    [
        "make it blue ",
        "make it blue\n",
        "please ",
        "'a ",
        '"',
        "rgb(1,",
        "a ",
        "page ",
        "\0",
        "\ud800",
    ],
)
def test_hostile_texts_of_a_mebibyte_are_read_at_once(piece: str) -> None:
    """Neither a huge text nor one that fills the limit with a pattern's own words takes long."""
    huge = piece * (2**20 // len(piece))
    assert read_commands(huge) == []
    assert parse_color(huge) is None
    parse_label(huge)
    for begin in ("", "make the page ", "add a button that says ", "can you please use "):
        read_commands((begin + huge)[:MAX_REQUEST])


# Any code point, lone surrogates and NUL too; and texts that get far into the rules.
ANY_TEXT = st.text(st.characters(exclude_categories=()))
WORDS = re.findall(
    r"\S+|\n",
    "make change the page it color to blue light green dark mode #abc rgb(1,2,3) use as I'd "
    "like turn off add a button called that says sends Yes and another please can you for "
    ", . ? ' \" “ ” \0 0 \n",
)
LIKELY_TEXT = st.lists(st.sampled_from(WORDS) | ANY_TEXT).map(" ".join)


@given(ANY_TEXT | LIKELY_TEXT)
def test_no_text_raises_and_every_command_is_fit_for_the_wire(text: str) -> None:
    """Whatever the text, commands have a whole colour or bounded labels, and survive the wire."""
    for command in read_commands(text):
        assert_fit(command)
        assert describe([command]).startswith("[dripline] ")


@given(ANY_TEXT)
def test_any_button_that_is_made_is_fit_for_the_wire(text: str) -> None:
    """Whatever stands in the quotes of a label, it becomes a bounded line or there is no button."""
    quoted = text.replace('"', "").replace("\n", " ").replace("\r", " ")[:MAX_LABEL]
    for command in read_commands(f'add a button called "{quoted}"'):
        assert_fit(command)


def assert_fit(command: UiControl) -> None:
    """A command has a whole colour or clean, bounded texts, and comes back whole from the wire."""
    match command:
        case ChangeTheme(color):
            assert re.fullmatch("#[0-9A-F]{6}", color)
        case AddButton(label, message):
            for text, limit in ((label, MAX_LABEL), (message, MAX_MESSAGE)):
                assert 0 < len(text) <= limit
                assert text == " ".join(text.split())
                assert not re.search("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)
    assert from_json(to_json(command)) == command


@pytest.mark.parametrize(
    ("text", "color"),
    [
        ("red", RED),
        (" Light  Green\n", LIGHT_GREEN),
        ("light-green", LIGHT_GREEN),
        ("GREY", "#808080"),
        ("navy blue", NAVY),
        ("RebeccaPurple", "#663399"),
        ("#aBc", "#AABBCC"),
        ("#90ee90", LIGHT_GREEN),
        ("rgb(144, 238, 144)", LIGHT_GREEN),
        ("RGB( 144 238 144 )", LIGHT_GREEN),
        ("", None),
        ("#", None),
        ("abc", None),
        ("90EE90", None),
        ("#abcd", None),
        ("#90EE90FF", None),
        ("#90EE9g", None),
        ("#９０９", None),
        ("##abc", None),
        ("rgb(256,0,0)", None),
        ("rgb(-1,0,0)", None),
        ("rgb(1,2)", None),
        ("rgb(1,2,3,4)", None),
        ("rgb(0001,2,3)", None),
        ("rgb(٣,2,3)", None),
        ("rgb(10%,2%,3%)", None),
        ("transparent", None),
        ("currentcolor", None),
        ("inherit", None),
        ("none", None),
        ("dark", None),
        ("url(javascript:alert(1))", None),
        ("red; background: url(//example.org)", None),
        ("red\0", None),
    ],
)
def test_a_colour_is_checked(text: str, color: str | None) -> None:
    """Only an opaque CSS colour is a colour, and it always comes out in one form."""
    assert parse_color(text) == color


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (" Tell me\n a\tjoke ", "Tell me a joke"),
        ("a\x00b\x1b[31mc", "ab[31mc"),
        ("\u202eesrever", "esrever"),
        ("\ud800x", "x"),
        ("👩‍👩‍👧", "👩‍👩‍👧"),
        ("می‌خواهم", "می‌خواهم"),
        ("x" * MAX_LABEL, "x" * MAX_LABEL),
        ("x" * (MAX_LABEL + 1), None),
        ("", None),
        (" \n", None),
        ("\x00", None),
        ("\u200b", None),
        ("\u202e \u2066", None),
    ],
)
def test_a_label_is_checked(text: str, line: str | None) -> None:
    """A label is one visible line within its limit, without what could disguise it."""
    assert parse_label(text) == line


def test_a_message_may_be_longer_than_a_label() -> None:
    """What a button sends has a limit of its own."""
    assert parse_message("x" * MAX_MESSAGE) == "x" * MAX_MESSAGE
    assert parse_message("x" * (MAX_MESSAGE + 1)) is None


@pytest.mark.parametrize(
    ("commands", "said"),
    [
        (theme(LIGHT_GREEN), ["The page's colour has just been changed to light green (#90EE90)."]),
        (theme("#FAFAD2"), ["changed to light goldenrod yellow (#FAFAD2)."]),
        (theme("#DAA520"), ["changed to goldenrod (#DAA520)."]),
        (theme("#FFF5EE"), ["changed to seashell (#FFF5EE)."]),
        (theme("#123456"), ["The page's colour has just been changed to #123456."]),
        (theme(DARK), [f"changed to dark mode ({DARK})."]),
        (button("Help", "What now?"), ['A button labelled "Help"', 'sends "What now?".']),
        (button('Say "hi"'), ["""A button labelled "Say 'hi'" has"""]),
        (theme(RED) + button("Yes") + button("No"), ["red (#FF0000).", '"Yes"', '"No"']),
    ],
)
def test_the_model_is_told_what_has_been_done(commands: list[UiControl], said: list[str]) -> None:
    """The model's note names each thing done, in order, and asks not to deny it."""
    note = describe(commands)
    assert note.startswith("[dripline] ")
    assert "do not say that you cannot do it" in note
    places = [note.find(part) for part in said]
    assert -1 not in places
    assert places == sorted(places)
    assert "\n" not in note


def test_nothing_done_is_nothing_told() -> None:
    """Without commands there is no note."""
    assert describe([]) == ""
