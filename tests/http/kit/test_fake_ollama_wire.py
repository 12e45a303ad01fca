"""The fake Ollama's bytes: fields, escapes, times, chunks and errors as the real one sends them."""

from __future__ import annotations

import json
import re
import time
from datetime import datetime

import pytest

from dripline.recordings.splits import (
    SplitPlan,
    cut_at,
    every_byte,
    fixed,
    inside_characters,
    seeded,
    whole,
)
from dripline.testing import Call, FakeOllama, Pace, Reply, Script, VirtualClock
from tests.support.raw_http import RawResponse, raw_exchange

CHAT = {"model": "story", "messages": [{"role": "user", "content": "Hi"}]}
NDJSON = "application/x-ndjson"
JSON = "application/json; charset=utf-8"


async def chat(ollama: FakeOllama, **fields: object) -> RawResponse:
    return await raw_exchange(ollama.url, "POST", "/api/chat", CHAT | fields)


async def test_a_stream_is_ollamas_to_the_byte() -> None:
    """Field order, left-out fields, times and durations are those of the real server."""
    reply = Reply(["Once", " upon"], thinking=["Hm"], tool_calls=[Call("look", {"at": 1})])
    pace = Pace(cold_load=2, first_token=0.5, tokens_per_second=4)
    async with FakeOllama({"story": Script(reply, pace)}, clock=VirtualClock()) as ollama:
        response = await chat(ollama, tools=[{"type": "function", "function": {"name": "look"}}])
    assert response.status == 200
    assert response.headers["content-type"] == NDJSON
    assert response.headers["transfer-encoding"] == "chunked"
    call = json.loads(response.lines[3])["message"]["tool_calls"][0]["id"].encode()
    assert re.fullmatch(rb"call_[a-z0-9]{8}", call)
    head = b'{"model":"story","created_at":"2023-11-14T22:13:2'
    assert response.lines == [
        head + b'2.5Z","message":{"role":"assistant","content":"","thinking":"Hm"},"done":false}\n',
        head + b'2.75Z","message":{"role":"assistant","content":"Once"},"done":false}\n',
        head + b'3Z","message":{"role":"assistant","content":" upon"},"done":false}\n',
        head
        + b'3.25Z","message":{"role":"assistant","content":"","tool_calls":[{"id":"'
        + call
        + b'","function":{"index":0,"name":"look","arguments":{"at":1}}}]},"done":false}\n',
        head + b'3.5Z","message":{"role":"assistant","content":""},"done":true,'
        b'"done_reason":"stop","total_duration":3500000000,"load_duration":2000000000,'
        b'"prompt_eval_count":20,"prompt_eval_duration":500000000,'
        b'"eval_count":4,"eval_duration":1000000000}\n',
    ]


async def test_without_streaming_there_is_one_object() -> None:
    """`"stream": false` gives the whole answer in one body with a length."""
    reply = Reply("Once upon a time", thinking="Hmm, well")
    async with FakeOllama({"story": Script(reply)}, clock=VirtualClock()) as ollama:
        response = await chat(ollama, stream=False)
    assert response.status == 200
    assert response.headers["content-type"] == JSON
    assert "transfer-encoding" not in response.headers
    assert response.body.startswith(
        b'{"model":"story","created_at":"2023-11-14T22:13:20Z","message":{"role":"assistant",'
        b'"content":"Once upon a time","thinking":"Hmm, well"},"done":true,"done_reason":"stop",'
        b'"total_duration":'
    )


@pytest.mark.parametrize(
    ("fraction", "written"),
    [(123_456_789, ".123456789"), (120_000_000, ".12"), (1, ".000000001"), (0, "")],
)
async def test_times_have_nanoseconds(fraction: int, written: str) -> None:
    """`created_at` has as many digits as it takes, up to nine, as Go writes times."""
    clock = VirtualClock(start_ns=1_700_000_000 * 10**9 + fraction)
    async with FakeOllama({"story": Script()}, clock=clock) as ollama:
        response = await chat(ollama)
    assert json.loads(response.lines[0])["created_at"] == f"2023-11-14T22:13:20{written}Z"


async def test_times_are_now() -> None:
    """`created_at` is the time at which the chunk was made, in UTC."""
    async with FakeOllama({"story": Script()}) as ollama:
        before = time.time()
        response = await chat(ollama)
        after = time.time()
    times = [datetime.fromisoformat(json.loads(line)["created_at"]) for line in response.lines]
    assert times == sorted(times)
    assert before - 0.001 <= times[0].timestamp()
    assert times[-1].timestamp() <= after + 0.001


@pytest.mark.parametrize(
    ("token", "escaped"),
    [
        ("<b> & </b>", rb"\u003cb\u003e \u0026 \u003c/b\u003e"),
        ("\u2028\u2029", rb"\u2028\u2029"),
        ("\u0085", "\u0085".encode()),
        ("\x7f\u00a0\ufeff", "\x7f\u00a0\ufeff".encode()),
        ("\x00\x0b\x1f", rb"\u0000\u000b\u001f"),
        ('"\\/\n\r\t', rb"\"\\/\n\r\t"),
        ("👩‍🔬 é", "👩‍🔬 é".encode()),
        ("\ud83d", rb"\ufffd"),
    ],
)
async def test_strings_are_escaped_as_go_does(token: str, escaped: bytes) -> None:
    """HTML and the JavaScript line ends are escaped, and U+0085 is not."""
    async with FakeOllama({"story": Script([token])}) as ollama:
        response = await chat(ollama)
    assert b'"content":"' + escaped + b'"}' in response.chunks[0]


@pytest.mark.parametrize(
    "split",
    [whole, every_byte, fixed(7), cut_at(1, 40, 10_000), inside_characters, seeded(3)],
    ids=str,
)
async def test_each_piece_is_a_chunk_of_its_own(split: SplitPlan) -> None:
    """The split plan cuts each line as it leaves, and HTTP frames each piece by itself."""
    async with FakeOllama({"story": Script(["né", "👋", "\u2028"], split=split)}) as ollama:
        response = await chat(ollama)
    assert response.chunks == [
        piece for line in response.body.split(b"\n")[:-1] for piece in split([line + b"\n"])
    ]
    assert [json.loads(line)["message"]["content"] for line in response.lines] == [
        "né",
        "👋",
        "\u2028",
        "",
    ]


@pytest.mark.parametrize(
    ("method", "path", "status", "content_type", "body"),
    [
        ("GET", "/", 200, "text/plain; charset=utf-8", b"Ollama is running"),
        ("HEAD", "/", 200, "text/plain; charset=utf-8", b""),
        ("GET", "/api/version", 200, JSON, b'{"version":"0.33.0"}'),
        ("HEAD", "/api/version", 200, JSON, b""),
        ("HEAD", "/api/tags", 200, JSON, b""),
        ("GET", "/api/ps", 200, JSON, b'{"models":[]}'),
        ("GET", "/api/nothing", 404, "text/plain", b"404 page not found"),
        ("POST", "/", 405, "text/plain", b"405 method not allowed"),
        ("GET", "/api/chat", 405, "text/plain", b"405 method not allowed"),
    ],
)
async def test_the_other_addresses(
    method: str, path: str, status: int, content_type: str, body: bytes
) -> None:
    """Each address answers as Ollama's does, also those that are not there."""
    async with FakeOllama({"story": Script()}) as ollama:
        response = await raw_exchange(ollama.url, method, path)
    assert (response.status, response.headers["content-type"]) == (status, content_type)
    assert response.body == body


async def test_the_list_of_models() -> None:
    """`/api/tags` has every field, in Ollama's order."""
    async with FakeOllama({"story": Script()}) as ollama:
        response = await raw_exchange(ollama.url, "GET", "/api/tags")
    (model,) = json.loads(response.body)["models"]
    assert list(model) == [
        *("name", "model", "modified_at", "size", "digest", "details", "capabilities"),
    ]
    assert (model["name"], model["model"]) == ("story:latest", "story:latest")
    assert re.fullmatch("[0-9a-f]{64}", model["digest"])
    assert list(model["details"]) == [
        "parent_model",
        "format",
        "family",
        "families",
        "parameter_size",
        "quantization_level",
        "context_length",
        "embedding_length",
    ]


def mismatch(given: str, field: str, wanted: str) -> str:
    return (
        f"json: cannot unmarshal {given} into Go struct field ChatRequest.{field} of type {wanted}"
    )


LEVELS = '"high", "medium", "low", "max", true, or false'

# By the field or the mistake: the body, the status and the message.
CHAT_ERRORS: dict[str, tuple[object, int, str]] = {
    "no body": (b"", 400, "missing request body"),
    "blank body": (b" \n", 400, "missing request body"),
    "half JSON": (b'{"model": "story"', 400, "unexpected EOF"),
    "no JSON": (b"story", 400, "invalid character 's' looking for beginning of value"),
    "NaN": (b'{"model": NaN}', 400, "invalid character 'N' looking for beginning of value"),
    "depth": (b"[" * 100_000, 400, "invalid character '[' exceeded max depth"),
    "array": ([], 400, "json: cannot unmarshal array into Go value of type api.ChatRequest"),
    "no model": ({}, 400, "model is required"),
    "null model": (CHAT | {"model": None}, 400, "model is required"),
    "model": (CHAT | {"model": 1}, 400, mismatch("number", "model", "string")),
    "messages": (
        CHAT | {"messages": "Hi"},
        400,
        mismatch("string", "messages", "[]api.Message"),
    ),
    "message": (
        CHAT | {"messages": ["Hi"]},
        400,
        mismatch("string", "messages", "api.Alias"),
    ),
    "content": (
        CHAT | {"messages": [{"role": "user", "content": [1]}]},
        400,
        mismatch("array", "messages.content", "string"),
    ),
    "image": (
        CHAT | {"messages": [{"role": "user", "images": ["no base64!"]}]},
        400,
        "illegal base64 data at input byte 2",
    ),
    "stream": (CHAT | {"stream": "yes"}, 400, mismatch("string", "stream", "bool")),
    "options": (
        CHAT | {"options": []},
        400,
        mismatch("array", "options", "map[string]interface {}"),
    ),
    "num_predict": (
        CHAT | {"options": {"num_predict": "10"}},
        500,
        'option "num_predict" must be of type integer',
    ),
    "top_logprobs": (
        CHAT | {"top_logprobs": 21},
        400,
        "top_logprobs must be between 0 and 20",
    ),
    "keep_alive unit": (CHAT | {"keep_alive": "5"}, 400, 'time: missing unit in duration "5"'),
    "keep_alive": (CHAT | {"keep_alive": "soon"}, 400, 'time: invalid duration "soon"'),
    "keep_alive type": (CHAT | {"keep_alive": True}, 400, "Unsupported type: 'bool'"),
    "think level": (
        CHAT | {"think": "hard"},
        400,
        f'invalid think value: "hard" (must be {LEVELS})',
    ),
    "think type": (CHAT | {"think": 1}, 400, f"think must be a boolean or string ({LEVELS})"),
    "format": (
        CHAT | {"format": "xml"},
        500,
        r'invalid format: "\"xml\""; expected "json" or a valid JSON Schema object',
    ),
    "cannot think": (CHAT | {"think": True}, 400, '"story" does not support thinking'),
    "cannot think at all": (CHAT | {"think": "low"}, 400, '"story" does not support thinking'),
    "cannot use tools": (
        CHAT | {"tools": [{}]},
        400,
        "registry.ollama.ai/library/story:latest does not support tools",
    ),
    "cannot chat": (CHAT | {"model": "embed"}, 400, '"embed" does not support chat'),
    "unknown model": (CHAT | {"model": "tale"}, 404, "model 'tale' not found"),
}


@pytest.mark.parametrize(
    ("body", "status", "message"), CHAT_ERRORS.values(), ids=CHAT_ERRORS.keys()
)
async def test_a_wrong_chat_is_refused_in_ollamas_words(
    body: object, status: int, message: str
) -> None:
    """Each mistake has Ollama's status and message, and the server goes on."""
    models = {"story": Script(), "embed": Script(capabilities=["embedding"])}
    async with FakeOllama(models) as ollama:
        response = await raw_exchange(ollama.url, "POST", "/api/chat", body)
        assert json.loads(response.body) == {"error": message}
        assert response.status == status
        # What the model's runner refuses comes when a stream has been promised.
        late = message.startswith("invalid format")
        assert response.headers["content-type"] == ("application/json" if late else JSON)
        assert (await chat(ollama)).status == 200


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"", 400, "missing request body"),
        ({}, 400, "model is required"),
        ({"model": "tale"}, 404, "model 'tale:latest' not found"),
    ],
)
async def test_a_wrong_show_is_refused(body: object, status: int, message: str) -> None:
    """`/api/show` refuses in the same way."""
    async with FakeOllama({"story": Script()}) as ollama:
        response = await raw_exchange(ollama.url, "POST", "/api/show", body)
    assert (response.status, json.loads(response.body)) == (status, {"error": message})


async def test_what_follows_the_json_is_not_read() -> None:
    """Like Go's decoder, the fake reads one value and ignores the rest and unknown fields."""
    async with FakeOllama({"story": Script("Once")}) as ollama:
        body = json.dumps(CHAT | {"unknown": 1}).encode() + b" and more"
        response = await raw_exchange(ollama.url, "POST", "/api/chat", body)
    assert response.status == 200


@pytest.mark.parametrize(
    "name",
    ["story", "story:latest", "STORY", "library/story", "registry.ollama.ai/library/story:latest"],
)
async def test_a_model_has_several_names(name: str) -> None:
    """The tag may be left out, case does not matter, and the answer echoes what was asked for."""
    async with FakeOllama({"story": Script("Once")}) as ollama:
        response = await chat(ollama, model=name)
    assert response.status == 200
    assert json.loads(response.lines[0])["model"] == name


async def test_tags_tell_models_apart() -> None:
    """Another tag is another model."""
    async with FakeOllama({"story:7b": Script(["7b"]), "user/story": Script(["mine"])}) as ollama:
        assert (await chat(ollama, model="story")).status == 404
        assert b'"content":"7b"' in (await chat(ollama, model="story:7b")).body
        assert b'"content":"mine"' in (await chat(ollama, model="user/story:latest")).body


async def test_a_body_beyond_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A body is never read without a bound."""
    monkeypatch.setattr("dripline.testing.fake_ollama.server.MAX_BODY", 1000)
    async with FakeOllama({"story": Script()}) as ollama:
        response = await chat(ollama, padding="x" * 1000)
    assert response.status == 413
