"""What is fuzzed: each target takes any bytes, and fails where a promise does not hold."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import pairwise
from typing import Any

import orjson
from ag_ui.core import RunAgentInput
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import BaseModel

from dripline import BadRecording, ErrorCode, EventDecoder, Recording
from dripline.chat.transcript import Transcript
from dripline.events import End, Event, from_json, to_json
from dripline.ndjson import LineSplitter
from dripline.recordings.recording import parse as parse_recording
from dripline_server.dialects.native import NativeDialect
from dripline_server.problems import Problem
from dripline_server.routes import agui_input, ui_message_input
from dripline_server.routes.chat_request import ChatRequest, run_request
from dripline_server.routes.request_body import parse_json
from dripline_server.routes.ui_message_input import UiChatRequest
from dripline_server.run_log import Batch
from tests.conformance.decoders import decode_in_python
from tests.conformance.reference_decoder import decode
from tests.support.recorded import FOLDER
from tests.support.upstream_body import read_body

MAX_LINE = 200


def pieces_of(data: bytes) -> tuple[bytes, list[bytes]]:
    """Take the first bytes for a plan by which the rest is cut: the rest, whole and in pieces."""
    if not data:
        return b"", []
    count, rest = data[0] % 8, data[1:]
    plan, body = rest[:count], rest[count:]
    cuts = sorted({place * len(body) // 256 for place in plan} | {0, len(body)})
    return body, [body[start:end] for start, end in pairwise(cuts)]


def decoder(data: bytes) -> None:
    """`EventDecoder` says what the standard's algorithm says, however the bytes are cut."""
    body, pieces = pieces_of(data)
    for limit in (MAX_LINE, 1 << 24):
        assert decode_in_python(pieces, limit) == decode(body, limit)


def lines(data: bytes) -> None:
    """`LineSplitter` cuts where the LFs are, and stops at the line that is too long."""
    body, pieces = pieces_of(data)
    splitter = LineSplitter(MAX_LINE)
    found: list[bytes] = []
    *whole, rest = body.split(b"\n")
    for piece in pieces:
        found += splitter.feed(piece)
        if splitter.too_long:
            break
    if splitter.too_long:
        fits = [line for line in (*whole, rest) if len(line) <= MAX_LINE]
        assert len(fits) < len(whole) + 1
        assert found == whole[: len(found)]
    else:
        assert found == whole
        assert splitter.pending == len(rest)


def nested(levels: int) -> object:
    """A value of so many levels: from 254 on, orjson cannot write what it reads."""
    value: object = {}
    for _ in range(levels):
        value = [value]
    return value


COUNTS = st.sampled_from([-1, 0, 5, 2**53, 2**53 + 1, 2**64 - 1])
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner),
    max_leaves=8,
)
NAMED = st.fixed_dictionaries({}, optional={"name": JSON, "arguments": JSON})
CALL = st.fixed_dictionaries({}, optional={"id": JSON, "function": JSON | NAMED})
MESSAGE = st.fixed_dictionaries(
    {},
    optional={
        "role": JSON,
        "content": JSON | st.text("a\n\r\0\u0085\u2028:d", max_size=9),
        "thinking": JSON,
        "tool_calls": JSON | st.lists(JSON | CALL, max_size=3),
    },
)
CHUNK = st.fixed_dictionaries(
    {"message": JSON | MESSAGE},
    optional={
        "done": JSON,
        "done_reason": JSON,
        "error": JSON,
        "logprobs": JSON,
        "load_duration": JSON | COUNTS,
        "eval_count": JSON | COUNTS,
        "prompt_eval_count": JSON | COUNTS,
    },
)


def call(levels: int) -> object:
    """A chunk with a call whose arguments have so many levels."""
    function = {"name": "f", "arguments": {"deep": nested(levels)}}
    return {"message": {"tool_calls": [{"function": function}]}, "done": True}


@given(st.lists(JSON | CHUNK | st.integers(1, 300).map(call), max_size=4), st.integers(1, 9))
@example([call(300)], 9)  # no event can be written
@example([call(245)], 9)  # an event can, and no request with it
@example([{"message": {}, "done": True, "eval_count": 2**64 - 1}], 9)
def whatever_ollama_says(values: list[object], size: int) -> None:
    """Values of any kind at any field become events or a named error; none breaks a frame."""
    body = b"".join(json.dumps(value).encode() + b"\n" for value in values)
    check_upstream([body[at : at + size * 8] for at in range(0, len(body), size * 8)])


def upstream(data: bytes) -> None:
    """The same for any bytes."""
    check_upstream(pieces_of(data)[1])


def check_upstream(pieces: list[bytes]) -> None:
    """Take what Ollama sends as the server does, up to its end or failure."""
    events, answer, _ = read_body(pieces, max_line=4096)
    check_next_request(events)
    payloads = [to_json(event) for event in (*events, End("completed", usage=answer.usage(2.0)))]
    assert [from_json(payload) for payload in payloads[:-1]] == events
    messages = EventDecoder().feed(NativeDialect().frames(Batch(1, payloads)))
    assert [message.data.encode() for message in messages] == payloads
    assert [message.id for message in messages] == [str(seq + 1) for seq in range(len(payloads))]


def check_next_request(events: list[Event]) -> None:
    """What the model called goes back to it, from the server and from the client."""
    transcript = Transcript()
    for event in events:
        transcript.add(event)
    if messages := transcript.messages:
        parse_json(orjson.dumps({"messages": messages}), ChatRequest)


# As a client may send them, each to be spoilt in one place.
BODIES: list[dict[str, Any]] = [
    {
        "model": "m",
        "messages": [
            {"role": "system", "content": "x"},
            {"role": "user", "content": "x", "images": ["eA=="]},
            {"role": "assistant", "thinking": "x", "tool_calls": [{"function": {"name": "f"}}]},
            {"role": "tool", "content": "x", "tool_name": "f", "tool_call_id": "1"},
        ],
        "options": {"stop": ["a"], "temperature": 0.5},
        "format": {"type": "object"},
        "keep_alive": "5m",
        "think": "low",
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
        "logprobs": True,
        "top_logprobs": 2,
        "stream": False,
        "ui_control": "auto",
        "on_disconnect": "stop",
    }
]
READ_AS: list[tuple[type[BaseModel], Callable[[Any], ChatRequest]]] = [
    (ChatRequest, lambda asked: asked),
    (UiChatRequest, ui_message_input.chat_request),
    (RunAgentInput, lambda asked: agui_input.chat_request(asked, "stop")),
]


def check_request(body: bytes) -> None:
    """Whatever the body, it can be asked of Ollama or its fault is named; in every dialect."""
    for model, understand in READ_AS:
        try:
            run_request(understand(parse_json(body, model)), "m", 30.0)
        except Problem as problem:
            if problem.code is ErrorCode.BAD_FIELD and ": " not in problem.message:
                raise AssertionError("no field is named") from problem


def request(data: bytes) -> None:
    """The same for any bytes."""
    check_request(data)


@given(st.sampled_from(BODIES), st.data())
def any_value_at_any_field(body: dict[str, Any], data: st.DataObject) -> None:
    """A body in which one value, at any depth, is another one."""
    spoilt = copy.deepcopy(body)
    at: Any = spoilt
    while True:
        keys = sorted(at) if isinstance(at, dict) else range(len(at))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(at[key], dict | list) or not at[key] or data.draw(st.booleans()):
            at[key] = data.draw(JSON)
            break
        at = at[key]
    check_request(orjson.dumps(spoilt))


def recording(data: bytes) -> None:
    """The loader takes a file or says what is wrong with it; what it takes is whole."""
    with suppress(BadRecording):
        for part in parse_recording(data).exchanges:
            assert b"".join(part.chunks) == part.body


def fuzzed(prop: Any) -> Callable[[bytes], object]:
    """Return a property as a target: bytes choose what hypothesis would draw."""
    target: Callable[[bytes], object] = prop.hypothesis.fuzz_one_input
    return target


TARGETS: dict[str, Callable[[bytes], object]] = {
    "decoder": decoder,
    "lines": lines,
    "upstream": upstream,
    "upstream-values": fuzzed(whatever_ollama_says),
    "recording": recording,
    "request": request,
    "request-values": fuzzed(any_value_at_any_field),
}


def seeds(name: str) -> Iterator[bytes]:
    """Give inputs to begin with: what the tests' recordings hold."""
    for path in sorted(FOLDER.glob("*.jsonl")):
        if name == "recording":
            yield path.read_bytes()
        elif "scripts" not in path.name:
            yield bytes((3, 40, 80, 160)) + Recording.load(path).body
    if name == "request":
        yield from map(orjson.dumps, BODIES)
