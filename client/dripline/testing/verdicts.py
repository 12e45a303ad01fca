"""Check how a client handled a broken stream: did it retry, how soon, did it give up?

The first argument of each check is the object that received the client's requests: the fixture
`replay(...)`, a `ReplayServer`, the fixture `fake_ollama` or a `FakeOllama`. After the first
incomplete answer, requests to the same address, and requests with `Last-Event-ID`, count as
further attempts.

An answer is whole if it is a success, HTTP ended it regularly, and it has the last event of its
protocol, such as `[DONE]`, if the protocol has one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Protocol, runtime_checkable

from dripline.recordings.exchange import Exchange
from dripline.recordings.view import figures

_SHOWN = 60  # characters of an answer, in a message


class Attempt(Protocol):
    """One request and how its answer ended, as recorded by `ReplayServer` and `FakeOllama`."""

    @property
    def method(self) -> str: ...  # noqa: D102 (each is explained where it is defined)
    @property
    def path(self) -> str: ...  # noqa: D102
    @property
    def headers(self) -> Mapping[str, str]: ...  # noqa: D102
    @property
    def started_at(self) -> float: ...  # noqa: D102
    @property
    def ended_at(self) -> float | None: ...  # noqa: D102
    @property
    def got_whole_answer(self) -> bool: ...  # noqa: D102
    @property
    def verdict(self) -> str: ...  # noqa: D102


class Witness(Protocol):
    """An object that received the requests of a client."""

    @property
    def requests(self) -> Iterable[Any]:
        """The requests, oldest first."""
        ...


@runtime_checkable
class _Settles(Protocol):
    def settle(self) -> None: ...


def assert_retried(
    seen: Witness,
    *,
    times: int | None = None,
    after: float = 0.0,
    within: float = math.inf,
    path: str | None = None,
) -> None:
    """Check that a client retried after each incomplete answer.

    Args:
        seen: The object that received the requests.
        times: The expected number of retries. None: at least one.
        after: The shortest wait before each retry, in seconds.
        within: The longest wait before each retry, in seconds.
        path: Only look at requests with this path.

    Raises:
        AssertionError: It did not; the message shows each attempt.
    """
    __tracebackhide__ = True
    attempts = _attempts(seen, path)
    retries = len(attempts) - 1
    if all(attempt.got_whole_answer for attempt in attempts):
        raise _failure("nothing broke, so there was nothing to retry", attempts)
    if retries == 0:
        raise _failure("the client did not retry", attempts)
    if times is not None and retries != times:
        raise _failure(f"the client retried {_times(retries)}, not {_times(times)}", attempts)
    for number, wait in enumerate(_waits(attempts), start=1):
        if wait < after:
            raise _failure(
                f"retry {number} came after {wait:.3f} s, and should wait {after:g} s at least",
                attempts,
            )
        if wait > within:
            raise _failure(
                f"retry {number} came after {wait:.3f} s, and should wait {within:g} s at most",
                attempts,
            )


def assert_gave_up(seen: Witness, *, attempts: int | None = None, path: str | None = None) -> None:
    """Check that a client stopped retrying without a whole answer.

    Args:
        seen: The object that received the requests.
        attempts: The expected number of requests, including the first. None: any number.
        path: Only look at requests with this path.

    Raises:
        AssertionError: It did not; the message shows each attempt.
    """
    __tracebackhide__ = True
    made = _attempts(seen, path)
    if made[-1].got_whole_answer:
        raise _failure("the client did not give up: it got a whole answer", made)
    if made[-1].ended_at is None:
        raise _failure("the client has not given up: it is still reading", made)
    if attempts is not None and len(made) != attempts:
        raise _failure(f"the client gave up after {len(made)} attempts, not {attempts}", made)


def assert_read_to_end(seen: Witness, *, path: str | None = None) -> None:
    """Check that a client read a whole answer to each of its requests.

    Raises:
        AssertionError: It did not; the message shows each request.
    """
    __tracebackhide__ = True
    requests = _requests(seen, path)
    if not all(request.got_whole_answer for request in requests):
        raise _failure("not every answer was read to its end", requests)


def assert_no_half_answer(seen: Witness, answer: str | None, *, path: str | None = None) -> None:
    """Check that code did not return half an answer as if it were whole.

    Args:
        seen: The object that received the requests.
        answer: The text that the code returned; None if it raised or reported a failure.
        path: Only look at requests with this path.

    Raises:
        AssertionError: The code returned a text although no attempt got a whole answer, or the text
            is only the beginning of the recorded one. The message shows each attempt.
    """
    __tracebackhide__ = True
    attempts = _attempts(seen, path)
    if answer is None:
        return
    if not attempts[-1].got_whole_answer:
        raise _failure(
            f"the client took half an answer for a whole one: it returned {_shown(answer)}",
            attempts,
        )
    whole = _recorded_text(attempts[-1]).strip()
    said = answer.strip()
    if len(said) < len(whole) and whole.startswith(said):
        raise _failure(
            f"the client returned the beginning of the answer, {_shown(answer)},"
            f" and not all of it, {_shown(whole)}",
            attempts,
        )


def assert_resilient(seen: Witness, answer: str | None = None, *, path: str | None = None) -> None:
    """Check that a client recovered from a broken stream: it retried until its answer was whole.

    Args:
        seen: The object that received the requests.
        answer: The text that the code returned, to check it as `assert_no_half_answer` does.
        path: Only look at requests with this path.

    Raises:
        AssertionError: It did not; the message shows each attempt.
    """
    __tracebackhide__ = True
    assert_no_half_answer(seen, answer, path=path)
    assert_retried(seen, path=path)
    attempts = _attempts(seen, path)
    if not attempts[-1].got_whole_answer:
        raise _failure("the client gave up without a whole answer", attempts)


def _requests(seen: Witness, path: str | None) -> Sequence[Attempt]:
    if isinstance(seen, _Settles):
        seen.settle()
    came: list[Attempt] = [*seen.requests]
    found = [request for request in came if path in (None, request.path)]
    if not found:
        others = ", ".join(f"{request.method} {request.path}" for request in came) or "nothing"
        raise AssertionError(f"no request{f' to {path}' * bool(path)} came; what came: {others}")
    return found


def _attempts(seen: Witness, path: str | None) -> Sequence[Attempt]:
    """Return the attempts from the first incomplete answer on; all requests if there is none."""
    came = _requests(seen, path)
    first = next((n for n, request in enumerate(came) if not request.got_whole_answer), None)
    if first is None:
        return came
    asked = (came[first].method, came[first].path)
    return [
        request
        for request in came[first:]
        if (request.method, request.path) == asked or "Last-Event-ID" in request.headers
    ]


def _waits(attempts: Sequence[Attempt]) -> list[float]:
    return [
        later.started_at - (later.started_at if before.ended_at is None else before.ended_at)
        for before, later in pairwise(attempts)
    ]


def _recorded_text(attempt: Attempt) -> str:
    """Return the text of a replayed answer; "" if it is not known."""
    exchange = getattr(attempt, "exchange", None)
    return figures(exchange).text if isinstance(exchange, Exchange) else ""


def _failure(problem: str, attempts: Sequence[Attempt]) -> AssertionError:
    lines = [f"{problem}:"]
    waits = [None, *_waits(attempts)]
    for number, (attempt, wait) in enumerate(zip(attempts, waits, strict=True), start=1):
        later = "" if wait is None else f"{wait:.3f} s later: "
        lines.append(f"  {number}. {later}{attempt.method} {attempt.path} {attempt.verdict}")
    return AssertionError("\n".join(lines))


def _times(number: int) -> str:
    return {0: "never", 1: "once", 2: "twice"}.get(number, f"{number} times")


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")
