"""The options of `/set`, and their possible values."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

Value = str | float | bool


@dataclass(frozen=True, slots=True)
class Option:
    """An option that can be set.

    Attributes:
        meaning: What it does, in a few words.
        read: Makes a value of what was typed; raises ValueError where it is none.
        values: Which values there are, in words.
    """

    meaning: str
    read: Callable[[str], Value]
    values: str


def _number(low: float, high: float = math.inf) -> tuple[Callable[[str], Value], str]:
    def read(text: str) -> float:
        value = float(text)
        if not low <= value <= high or math.isinf(value):
            raise ValueError
        return value

    return read, f"a number from {low:g}" + ("" if math.isinf(high) else f" to {high:g}")


def _whole(low: int) -> tuple[Callable[[str], Value], str]:
    def read(text: str) -> int:
        value = int(text)
        if value < low:
            raise ValueError
        return value

    return read, f"a whole number from {low}"


def _think(text: str) -> Value:
    if text in ("on", "true", "off", "false"):
        return text in ("on", "true")
    if text in ("low", "medium", "high", "max"):
        return text
    raise ValueError


def _duration(text: str) -> Value:
    if not re.fullmatch(r"-?\d+|(\d+(\.\d+)?(ms|s|m|h))+", text):
        raise ValueError
    return text


# Those of Ollama's `options` that a person sets, then what stands beside them in a request.
OPTIONS: Mapping[str, Option] = {
    "temperature": Option("randomness of the answer", *_number(0, 10)),
    "top_p": Option("choose among the likeliest words, up to this share", *_number(0, 1)),
    "top_k": Option("choose among this many words", *_whole(0)),
    "min_p": Option("ignore words below this share of the likeliest one", *_number(0, 1)),
    "repeat_penalty": Option("penalise repetition", *_number(0, 10)),
    "repeat_last_n": Option("how many tokens back repetition counts", *_whole(-1)),
    "presence_penalty": Option("penalise words that already occurred", *_number(-2, 2)),
    "frequency_penalty": Option("penalise words by how often they occurred", *_number(-2, 2)),
    "seed": Option("the same seed gives the same answer", *_whole(0)),
    "num_ctx": Option("size of the model's context, in tokens", *_whole(1)),
    "num_predict": Option("longest answer in tokens; -1: no limit", *_whole(-2)),
    "stop": Option("end the answer before this text", str, "a text"),
    "think": Option("whether the model thinks first", _think, "on, off, low, medium, high or max"),
    "keep_alive": Option(
        "how long the model stays loaded", _duration, "such as 10m; 0: not; -1: always"
    ),
}
_BESIDE = ("think", "keep_alive")


def read_option(name: str, text: str) -> Value:
    """Parse the value that was typed for an option.

    Raises:
        ValueError: There is no such option, or it takes no such value; says which there are.
    """
    option = OPTIONS.get(name)
    if option is None:
        near = get_close_matches(name, OPTIONS, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(OPTIONS)}"
        raise ValueError(f"{name}: there is no such option; {hint}")
    try:
        return option.read(text)
    except ValueError:
        raise ValueError(f"{name}: should be {option.values}, is {text!r}") from None


def check_option(name: str, value: object) -> None:
    """Check that `read_option` could have returned this value for the option.

    Raises:
        ValueError: It has not; says what it should be.
    """
    written = {True: "on", False: "off"}.get(value, "") if isinstance(value, bool) else str(value)
    # 1 and 1.0 are one number to a person.
    if read_option(name, written) != value:
        raise ValueError(f"{name}: should be {OPTIONS[name].values}, is {value!r}")


def request_fields(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a chat request for the options that are set."""
    inner = {name: value for name, value in options.items() if name not in _BESIDE}
    # Ollama takes a list of texts to stop at, and keep_alive as a number where it is one.
    if isinstance(inner.get("stop"), str):
        inner["stop"] = [inner["stop"]]
    beside = {name: options[name] for name in _BESIDE if name in options}
    if str(beside.get("keep_alive", "")).lstrip("-").isdigit():
        beside["keep_alive"] = int(beside["keep_alive"])
    return {**({"options": inner} if inner else {}), **beside, "ui_control": "auto"}
