"""Assertions for tests of streaming code."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import zip_longest

from dripline.recordings.exchange import Exchange
from dripline.recordings.recording import Recording
from dripline.recordings.view import units

_SHOWN_BEFORE = 2
_NOTHING = object()


def assert_same_events(actual: object, expected: object) -> None:
    """Check that two streams have the same events.

    Args:
        actual: A sequence of comparable objects, such as `ServerSentEvent` or `TextMessage`. For a
            `Recording` or one of its exchanges, the events are compared, or the lines if there are
            no events.
        expected: Anything that `actual` may be.

    Raises:
        AssertionError: They differ. The message shows the first difference and the events right
            before it.
    """
    __tracebackhide__ = True
    found, wanted = _events(actual), _events(expected)
    if found == wanted:
        return
    pairs = zip_longest(found, wanted, fillvalue=_NOTHING)
    first = next(number for number, (a, b) in enumerate(pairs) if a != b)
    lines = [f"the streams differ at event {first + 1}:"]
    lines += [f"  same      {event!r}" for event in wanted[max(0, first - _SHOWN_BEFORE) : first]]
    lines.append(f"  actual    {_shown(found, first)}")
    lines.append(f"  expected  {_shown(wanted, first)}")
    lines.append(f"  ({len(found)} events, expected {len(wanted)})")
    raise AssertionError("\n".join(lines))


def _events(stream: object) -> Sequence[object]:
    if isinstance(stream, Exchange):
        return [unit.event or unit.raw for unit in units(stream)]
    if isinstance(stream, Recording):
        return [event for exchange in stream.exchanges for event in _events(exchange)]
    if isinstance(stream, Iterable):
        return list(stream)
    raise TypeError(f"a recording or a sequence of events is needed, not {type(stream).__name__}")


def _shown(events: Sequence[object], number: int) -> str:
    return repr(events[number]) if number < len(events) else "nothing more"
