"""Convert command-line arguments to values; argparse reports the errors with the option's name."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from dripline.recordings.splits import SplitPlan

T = TypeVar("T")


def _argument(parse: Callable[[str], T]) -> Callable[[str], T]:
    """Make argparse show why a value is wrong; it hides the text of a ValueError."""

    def parsed(text: str) -> T:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return parsed


@_argument
def header(text: str) -> tuple[str, str]:
    """Return a header's name and value."""
    name, colon, value = text.partition(":")
    if not colon:
        raise ValueError(f"{text!r} is not 'Name: value'")
    return name.strip(), value.strip()


@_argument
def seconds(text: str) -> float:
    """Return a time to wait."""
    value = float(text)
    if not value > 0:
        raise ValueError(f"should be above 0, is {text}")
    return value


@_argument
def speed(text: str) -> float:
    """Return a speed of a replay."""
    from dripline.recordings.replay import check_speed

    value = float(text)
    check_speed(value)
    return value


@_argument
def host(text: str) -> str:
    """Return the name or address of a network interface."""
    if not text.encode("idna"):
        raise ValueError("should be a name or an address")
    return text


@_argument
def port(text: str) -> int:
    """Return a port to listen on."""
    number = int(text)
    if not 0 <= number <= 65535:
        raise ValueError(f"should be from 0 to 65535, is {text}")
    return number


@_argument
def unicode_text(text: str) -> str:
    """Return a text that can be written to a file."""
    return text.encode().decode()  # raises if the argument's bytes were not UTF-8


@_argument
def split(text: str) -> SplitPlan:
    """Return a plan that cuts the bytes of a recording."""
    from dripline.recordings.splits import plan_named

    return plan_named(text)
