"""Which recorded exchange answers a request, and what is said where none does."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dripline.recordings.differences import body_differences, same_address, same_body
from dripline.recordings.exchange import Exchange, Request
from dripline.recordings.matching import Match, Playlist, UnexpectedRequest

URL = "http://127.0.0.1:11434"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=9,
)


def post(path: str, body: object = None) -> Request:
    """A request as a client of Ollama's makes it."""
    return Request("POST", f"{URL}{path}", body=b"" if body is None else orjson.dumps(body))


def exchanges(*requests: Request) -> list[Exchange]:
    return [Exchange(request, part=str(n)) for n, request in enumerate(requests, start=1)]


def parts(playlist: Playlist, *came: Request) -> list[str]:
    """The names of the exchanges that answer these requests; "-" where none does."""
    found = []
    for request in came:
        try:
            found.append(playlist.use(request).part)
        except UnexpectedRequest:
            found.append("-")
    return found


SHOW, ONE, TWO = post("/api/show", {"a": 1}), post("/api/chat", {"a": 1}), post("/api/chat", [2])
OTHER = post("/api/chat", {"other": True})


def same_size(recorded: Request, came: Request) -> bool:
    return len(recorded.body) == len(came.body)


@pytest.mark.parametrize(
    ("match", "came", "expected"),
    [
        ("path", [ONE, TWO, SHOW], ["2", "3", "1"]),
        ("path", [OTHER, OTHER, OTHER], ["2", "3", "-"]),
        ("path", [TWO, ONE], ["3", "2"]),  # made at once, they may come in any order
        ("path", [TWO, TWO, TWO], ["3", "2", "-"]),
        ("body", [TWO, ONE, ONE], ["3", "2", "-"]),
        ("body", [OTHER, SHOW], ["-", "1"]),
        ("order", [SHOW, ONE, TWO, TWO], ["1", "2", "3", "-"]),
        ("order", [SHOW, OTHER, OTHER], ["1", "2", "3"]),
        ("order", [ONE, SHOW, ONE], ["-", "1", "2"]),
        (same_size, [TWO, ONE, SHOW, ONE], ["3", "1", "2", "-"]),
    ],
)
def test_which_exchange_answers(match: Match, came: list[Request], expected: list[str]) -> None:
    """Each exchange answers once, the first recorded one first."""
    assert parts(Playlist(exchanges(SHOW, ONE, TWO), match), *came) == expected


@pytest.mark.parametrize(
    ("match", "expected"), [("path", "232323"), ("body", "23----"), ("order", "------")]
)
def test_repeating(match: Match, expected: str) -> None:
    """Where it is asked for, all answers to a request begin again, in order, and no others do."""
    playlist = Playlist(exchanges(SHOW, ONE, TWO), match, repeat=True)
    came = [ONE, TWO, OTHER, OTHER, OTHER, OTHER]
    assert "".join(parts(playlist, *came)) == expected
    in_order = Playlist(exchanges(ONE, TWO), "order", repeat=True)
    assert "".join(parts(in_order, *came)) == "121212"


@given(JSON, st.sampled_from([b" ", b"\n\t", b""]))
def test_json_is_compared_as_json(value: Any, blank: bytes) -> None:
    """The order of fields and blanks do not matter, and all else does."""
    recorded = Request(body=orjson.dumps({"b": 1, "a": value}))
    came = Request(body=blank + orjson.dumps({"a": value, "b": 1}, option=orjson.OPT_INDENT_2))
    assert same_body(recorded, came)
    assert not same_body(recorded, Request(body=orjson.dumps({"a": value, "b": 2})))


@given(JSON, JSON)
def test_what_differs_is_named(one: Any, other: Any) -> None:
    """There is a difference if and only if JSON says so: True is not 1."""
    recorded, came = Request(body=orjson.dumps(one)), Request(body=orjson.dumps(other))
    sort = orjson.OPT_SORT_KEYS
    same = orjson.dumps(one, option=sort) == orjson.dumps(other, option=sort)
    assert same_body(recorded, came) is same
    assert (list(body_differences(recorded, came)) == []) is same


@pytest.mark.parametrize(
    ("recorded", "came", "same"),
    [
        ("http://a/x?b=1&a=2", "http://c:99/x?a=2&b=1", True),
        ("http://a/x?api_key=REDACTED", "http://a/x?api_key=hunter2", True),
        ("http://a/x?tenant=REDACTED", "http://a/x?tenant=hunter2", True),
        ("http://a/%C3%BC", "http://a/ü", True),
        ("http://a/x?a=1", "http://a/x", False),
        ("http://a/x?a=1", "http://a/x?a=2", False),
        ("http://a/x", "http://a/x/", False),
        ("http://[", "http://a/x", False),
    ],
)
def test_addresses(recorded: str, came: str, same: bool) -> None:
    """Host and port are another in every run; path and query count, and not in their encoding."""
    assert same_address(Request(url=recorded), Request(url=came)) is same


def test_a_redacted_secret_is_like_any() -> None:
    """What is not in the recording cannot differ; and it is in no message."""
    recorded = post("/api/chat", {"api_key": "REDACTED", "tenant": "REDACTED", "n": 1})
    came = post("/api/chat", {"api_key": "hunter2", "tenant": "hunter3", "n": 1})
    assert same_body(recorded, came)
    other = post("/api/chat?token=hunter2", {"api_key": "hunter2", "n": 2})
    with pytest.raises(UnexpectedRequest) as raised:
        Playlist(exchanges(recorded), "body").use(other)
    assert "hunter2" not in str(raised.value)
    assert raised.value.request.url.endswith("token=REDACTED")


WRONG: dict[str, tuple[Match, list[Request], Request, str]] = {
    "another path": (
        "path",
        [SHOW, ONE],
        post("/api/chats", {"a": 1}),
        (
            "unexpected request: POST /api/chats\n"
            "  it is not in the recording\n"
            "  the nearest recorded request is POST /api/chat (part 2)\n"
            "    path: recorded /api/chat, came /api/chats"
        ),
    ),
    "another method": (
        "path",
        [SHOW, ONE],
        Request("GET", f"{URL}/api/chat"),
        (
            "unexpected request: GET /api/chat\n"
            "  it is not in the recording\n"
            "  the nearest recorded request is POST /api/chat (part 2)\n"
            "    method: recorded POST, came GET\n"
            "    body: recorded '{\"a\":1}', came nothing"
        ),
    ),
    "another query": (
        "path",
        [post("/x?a=1")],
        post("/x?b=1"),
        (
            "unexpected request: POST /x?b=1\n"
            "  it is not in the recording\n"
            "  the nearest recorded request is POST /x?a=1 (part 1)\n"
            "    query: recorded a=1, came b=1"
        ),
    ),
    "too often": (
        "path",
        [SHOW],
        SHOW,
        (
            "unexpected request: POST /api/show\n"
            "  the recording has it once, and it has come more often\n"
            "  the nearest recorded request is POST /api/show (part 1)\n"
            "    without a difference"
        ),
    ),
    "another body": (
        "body",
        [post("/api/chat", {"messages": [{"content": "Hi"}], "model": "m", "x": 1})],
        post("/api/chat", {"messages": [{"content": "Ho"}, 2], "model": "m"}),
        (
            "unexpected request: POST /api/chat\n"
            "  it is not in the recording\n"
            "  the nearest recorded request is POST /api/chat (part 1)\n"
            '    body.messages[0].content: recorded "Hi", came "Ho"\n'
            "    body.messages[1]: recorded nothing, came 2\n"
            "    body.x: recorded 1, came nothing"
        ),
    ),
    "out of order": (
        "order",
        [SHOW, ONE],
        ONE,
        (
            "unexpected request: POST /api/chat\n"
            "  the recording expects another request next\n"
            "  the nearest recorded request is POST /api/show (part 1)\n"
            "    path: recorded /api/show, came /api/chat"
        ),
    ),
    "of a function": (
        lambda *_: False,
        [ONE],
        ONE,
        (
            "unexpected request: POST /api/chat\n"
            "  it is not in the recording\n"
            "  the nearest recorded request is POST /api/chat (part 1)\n"
            "    without a difference"
        ),
    ),
    "of nothing": (
        "path",
        [],
        ONE,
        "unexpected request: POST /api/chat\n  the recording holds no request",
    ),
    "much": (
        "body",
        [post("/x", list(range(20)))],
        post("/x", list(range(1, 21))),
        "\n    and 14 more",
    ),
}


@pytest.mark.parametrize(("match", "recorded", "came", "message"), WRONG.values(), ids=WRONG)
def test_what_is_said(match: Match, recorded: list[Request], came: Request, message: str) -> None:
    """Which request, why nothing answers it, the nearest one, and what is different."""
    playlist = Playlist(exchanges(*recorded), match)
    if "more often" in message:
        playlist.use(came)
    with pytest.raises(UnexpectedRequest) as raised:
        playlist.use(came)
    assert str(raised.value).endswith(message)


def test_the_nearest_is_the_one_with_the_fewest_differences() -> None:
    """Among those with the same address."""
    recorded = exchanges(post("/x", [1, 2, 3]), post("/x", [1, 5, 3]), post("/x", [7, 8, 9]))
    with pytest.raises(UnexpectedRequest) as raised:
        Playlist(recorded, "body").use(post("/x", [0, 5, 3]))
    assert raised.value.nearest is recorded[1]
    assert raised.value.differences == ["body[0]: recorded 1, came 0"]


def test_a_match_that_there_is_not() -> None:
    """Is refused at once, with what there is."""
    match: Any = "url"
    with pytest.raises(ValueError, match=r"match must be order, path, body or a function, not 'u"):
        Playlist([], match)


def test_a_function_that_fails_is_heard() -> None:
    """It is why the request has no answer."""

    def broken(recorded: Request, came: Request) -> bool:
        raise KeyError("no such field")

    with pytest.raises(UnexpectedRequest, match=r"`match` failed: KeyError\('no such field'\)"):
        Playlist(exchanges(ONE), broken).use(ONE)
