"""Ollamas that are odd in one way, and what may stand before them, over raw sockets."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from dripline import ChatClient, Event, RunFailed
from dripline.answer import Answer
from dripline_server.app import serve
from dripline_server.settings import Settings
from tests.support.odd_ollama import OddOllama, http_answer, json_answer, lines, texts
from tests.support.processes import command, line


@dataclass(frozen=True, slots=True)
class Case:
    """An odd answer, and what becomes of it.

    Attributes:
        answer: The bytes of Ollama's answer to the chat.
        outcome: The end's reason, or the error's code.
        text: The whole text; of an error, words of its message.
        thinking: The whole thinking.
        calls: The arguments of each tool call, or what could not be read of them.
        fields: What the request has beside its messages.
        settings: What the server is told.
        capabilities: Those of the model.
    """

    answer: bytes
    outcome: str = "stop"
    text: str = ""
    thinking: str = ""
    calls: tuple[object, ...] = ()
    fields: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    capabilities: tuple[str, ...] = ("completion", "tools")


def call(arguments: object) -> bytes:
    """A call of a tool with these arguments."""
    return lines({"tool_calls": [{"function": {"name": "get_weather", "arguments": arguments}}]})


def nested(code: int, message: str, kind: str) -> str:
    """llama-server's error, as Ollama 0.33 passes it on."""
    return orjson.dumps({"error": {"code": code, "message": message, "type": kind}}).decode()


def error_line(error: object) -> bytes:
    first = orjson.dumps({"message": {"content": "Half"}, "done": False})
    return http_answer(first + b"\n" + orjson.dumps({"error": error}) + b"\n")


def without_end(*contents: str) -> bytes:
    """A stream that ends well, and has no `done`."""
    chunks = [{"message": {"content": content}, "done": False} for content in contents]
    return http_answer(b"".join(orjson.dumps(chunk) + b"\n" for chunk in chunks))


PAGE = b"<!DOCTYPE html><html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"
TOO_LONG = nested(400, "request (810 tokens) exceeds the available context size", "invalid")
DONE = b'{"message":{"role":"assistant","content":""},"done":true,"done_reason":"unload"}'

CASES: dict[str, Case] = {
    # Errors: Ollama's own words, once, as sentences, and what to do.
    "sign-in": Case(
        json_answer({"error": "unauthorized", "signin_url": "https://ollama.com/connect?k=a"}, 401),
        "ollama_refused",
        "(401): unauthorized. Sign in at https://ollama.com/connect?k=a and",
    ),
    "a sign-in address that is none": Case(
        json_answer({"error": "unauthorized", "signin_url": "javascript:alert(1)"}, 401),
        "ollama_refused",
        "unauthorized. If it needs a key, set OLLAMA_API_KEY",
    ),
    "sign-in, with another status": Case(
        json_answer({"error": "forbidden", "signin_url": "https://ollama.com/connect?k=a"}, 403),
        "ollama_refused",
        "(403): forbidden. Sign in at https://ollama.com/connect?k=a and",
    ),
    "sign-in, in the middle": Case(
        http_answer(b'{"error":"unauthorized","signin_url":"https://ollama.com/connect?k=a"}\n'),
        "ollama_refused",
        "unauthorized. Sign in at https://ollama.com/connect?k=a and",
    ),
    "403 without a word": Case(http_answer(b"", status=403), "ollama_refused", "OLLAMA_ORIGINS"),
    "403 with an empty word": Case(json_answer({"error": ""}, 403), "ollama_refused", "ORIGINS"),
    "403 with a word": Case(
        json_answer({"error": "not yours"}, 403), "ollama_refused", "(403): not yours."
    ),
    "busy": Case(
        json_answer({"error": "server busy, please try again.  maximum exceeded"}, 503),
        "ollama_busy",
        "maximum exceeded. Try again later.",
    ),
    "JSON in the error": Case(
        json_answer({"error": nested(400, "No pictures", "invalid_request_error")}, 400),
        "ollama_refused",
        "(400): No pictures.",
    ),
    "JSON in the error, behind words": Case(
        json_answer({"error": f"llama-server: {nested(500, 'It broke', 'server_error')}"}, 500),
        "ollama_failed",
        "(500): llama-server: It broke.",
    ),
    "JSON in the error, between words": Case(
        json_answer({"error": f"a {{b}}: {nested(400, 'No', 'invalid_request')} (c)"}, 500),
        "ollama_refused",
        "(500): a {b}: No (c).",
    ),
    "JSON in the error, that names another fault of the request's": Case(
        json_answer({"error": nested(422, "Odd", "odd_error")}, 500), "ollama_refused", ": Odd."
    ),
    "JSON in the error, that says to wait": Case(
        json_answer({"error": nested(503, "Loading model", "unavailable_error")}, 500),
        "ollama_busy",
        "Loading model. Try again later.",
    ),
    "half an emoji in the error": Case(
        http_answer(rb'{"error":"bad \ud83d"}', status=400), "ollama_refused", "(400): bad \ufffd."
    ),
    "the request is too long": Case(
        json_answer({"error": TOO_LONG}, 400), "ollama_refused", "context size. Raise the option"
    ),
    "the request's fault, as an error line": Case(
        error_line(TOO_LONG), "ollama_refused", "exceeds the available context size. Raise"
    ),
    "an error line": Case(
        error_line("unexpected EOF"), "ollama_error", "reported an error: unexpected EOF."
    ),
    "an option of a wrong type is a 500": Case(
        json_answer({"error": 'option "temperature" must be of type float32'}, 500),
        "ollama_refused",
        'option "temperature" must be of type float32.',
    ),
    "a format that is no schema is a 500": Case(
        json_answer({"error": "invalid JSON schema in format"}, 500), "ollama_refused", "in format."
    ),
    "too long for a model, in other words, is a 500": Case(
        json_answer({"error": "input length exceeds maximum context length"}, 500),
        "ollama_refused",
        "context length. Raise the option num_ctx",
    ),
    "a picture for a model without vision is a 500": Case(
        json_answer({"error": "this model is missing data required for image input"}, 500),
        "ollama_refused",
        "missing data required",
    ),
    "a 500 of its own": Case(
        json_answer({"error": "llama-server process has terminated: signal: killed"}, 500),
        "ollama_failed",
        "signal: killed.",
    ),
    "a 500 without a word": Case(http_answer(b"", status=500), "ollama_failed", "gave no reason."),
    "a web page": Case(
        http_answer(PAGE, kind="text/html"), "upstream_garbage", "a web page ('502 Bad Gateway')"
    ),
    "a web page with a status": Case(
        http_answer(PAGE, status=502), "ollama_failed", "(502): it sent a web page ('502 Bad"
    ),
    "a compressed answer": Case(
        http_answer(gzip.compress(texts("Hi")), more="Content-Encoding: gzip\r\n"),
        "upstream_garbage",
        "compress",
    ),
    "an error that its header alone says is compressed": Case(
        http_answer(b"\x0b\x02\x80x\x03", status=500, more="Content-Encoding: br\r\n"),
        "ollama_failed",
        "(500): it sent a compressed answer (br)",
    ),
    "a web page that begins with a comment": Case(
        http_answer(b"\xef\xbb\xbf<!-- x --><title>Log in</title>"), "upstream_garbage", "'Log in'"
    ),
    "a text without LF": Case(http_answer(b"Ollama is running"), "upstream_garbage", "not JSON"),
    "a compressed error": Case(
        http_answer(gzip.compress(b'{"error": "x"}'), status=500),
        "ollama_failed",
        "compress",
    ),
    "events instead of lines": Case(
        http_answer(b'data: {"choices": []}\n\n'), "upstream_garbage", "server-sent events"
    ),
    # Its end.
    "the model repeats itself": Case(
        without_end("{", *["\n", "  "] * 16), "model_repeats", "temperature or repeat_penalty"
    ),
    "it repeats a word": Case(without_end("So", *[" very"] * 31), "model_repeats", "repeated"),
    "it ends early": Case(
        without_end(*["a", "b"] * 40), "upstream_truncated", "stopped before its end"
    ),
    "half a line at the end": Case(
        http_answer(b'{"message":{"content":"Hi"},"done":fal'), "upstream_truncated", "before its"
    ),
    "the last line has no LF": Case(http_answer(DONE), "unload"),
    "length": Case(lines({"content": "Hi"}, done={"done_reason": "length"}), "length", "Hi"),
    # Lossless.
    "arguments in a string": Case(call('{"city":"Zurich"}'), calls=({"city": "Zurich"},)),
    "arguments in a string in a string": Case(
        call('"{\\"city\\":\\"Zurich\\"}"'), calls=({"city": "Zurich"},)
    ),
    "no arguments": Case(call(""), calls=({},)),
    "arguments that are no JSON": Case(call("city=Zurich"), calls=("city=Zurich",)),
    "arguments that are a list": Case(call(["Zurich"]), calls=('["Zurich"]',)),
    "arguments in a string, nested deep": Case(
        call('{"a":' + "[" * 300 + "]" * 300 + "}"), calls=('{"a":' + "[" * 300 + "]" * 300 + "}",)
    ),
    "half an emoji": Case(
        http_answer(rb'{"message":{"content":"cut \ud83d."},"done":false}' + b"\n" + DONE),
        "unload",
        "cut \ufffd.",
    ),
    "half an emoji in bytes": Case(
        http_answer(b'{"message":{"content":"cut \xed\xa0\xbd."},"done":false}\n' + DONE),
        "unload",
        "cut \ufffd.",
    ),
    "both halves": Case(
        http_answer(rb'{"message":{"content":"\ud83d\ude00\ude00"},"done":false}' + b"\n" + DONE),
        "unload",
        "\U0001f600\ufffd",
    ),
    # Thinking.
    "think tags": Case(texts("<think>hidden</think>\n\nAnswer."), "stop", "Answer.", "hidden"),
    "think tags in pieces": Case(texts(*" <think>\nhid</b>den</think>\n\nA <b>."), "stop", "A <b>.",
        "hid</b>den"),
    "nothing thought": Case(texts("<think>", "\n\n", "</think>", "\n", "Hi"), "stop", "Hi"),
    "thinking without an end": Case(texts("<think>", "hid", "den</thi"), "stop", "", "hidden</thi"),
    "a tag that is none": Case(texts("<", "thin", "gs> are"), "stop", "<things> are"),
    "half a tag": Case(texts("<thi"), "stop", "<thi"),
    "a tag further on": Case(texts("Say ", "<think>", "x</think>"), "stop", "Say <think>x</think>"),
    "blanks alone": Case(texts(" ", "\n", " "), "stop", " \n "),
    "think tags of a model that Ollama knows as thinking": Case(
        texts("<think>", "x</think>"),
        text="<think>x</think>",
        capabilities=("completion", "thinking"),
    ),
    "think tags, and the switch is off": Case(
        texts("<think>x</think>"), text="<think>x</think>", settings={"think_tags": "off"}
    ),
}  # fmt: skip


async def ask(ollama: OddOllama, case: Case) -> tuple[Answer, list[Event]]:
    events: list[Event] = []
    settings = Settings(port=0, ollama=ollama.url, loading_after=3600, **case.settings)
    async with serve(settings) as server, ChatClient(server.url) as client:
        with suppress(RunFailed):
            async with client.chat("Hi", model="m", **case.fields) as stream:
                async for event in stream:
                    events.append(event)  # noqa: PERF401 (what came before the raise counts)
    return stream.answer, events


@pytest.mark.parametrize("piece", [0, 1], ids=["whole", "every byte"])
@pytest.mark.parametrize("name", CASES)
async def test_an_odd_answer(name: str, piece: int) -> None:
    """It is told as what it is, however its bytes come."""
    case = CASES[name]
    async with OddOllama(case.answer, capabilities=case.capabilities, piece=piece) as ollama:
        answer, _ = await ask(ollama, case)
    assert answer.end
    assert (answer.error.code if answer.error else answer.end.reason) == case.outcome
    if answer.error:
        assert case.text in answer.error.message
        assert ".." not in answer.error.message
    else:
        assert answer.text == case.text
    assert answer.thinking == case.thinking
    assert tuple(one.unreadable or one.arguments for one in answer.tool_calls) == case.calls


async def test_a_whole_answer_has_all_log_probabilities() -> None:
    """Those of text, of thinking, of a tool's call and of the end, in order."""
    said = [
        {"message": {"thinking": "I"}, "logprobs": [{"token": "I"}]},
        {"message": {"content": "Hi"}, "logprobs": [{"token": "H"}, {"token": "i"}]},
        {"message": {"content": ""}, "logprobs": [{"token": "<call>"}]},
        {"message": {"content": ""}, "done": True, "logprobs": [{"token": "</call>"}]},
    ]
    async with (
        OddOllama(http_answer(b"\n".join(map(orjson.dumps, said)))) as ollama,
        serve(Settings(port=0, ollama=ollama.url)) as server,
        ChatClient(server.url) as client,
        aiohttp.ClientSession() as http,
    ):
        body = {"messages": [], "keep_alive": 1, "model": "m", "stream": False}
        async with http.post(f"{server.url}/chat", json=body) as response:
            whole = (await response.json())["logprobs"]
        answer = await client.ask("Hi", model="m", logprobs=True)
    assert [one["token"] for one in whole] == ["I", "H", "i", "<call>", "</call>"]
    assert answer.logprobs == whole


SENT: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "fields that dripline does not know": (
        {"truncate": False, "shift": True, "of_2030": {"a": [1]}},
        {"truncate": False, "shift": True, "of_2030": {"a": [1]}},
    ),
    "an image in a data: URL": (
        {"messages": [{"role": "user", "images": ["data:image/png;base64,aGk=", "aGk="]}]},
        {"messages": [{"role": "user", "content": "", "images": ["aGk=", "aGk="]}]},
    ),
    "a field of a message": (
        {"messages": [{"role": "user", "content": "Hi", "of_2030": 1}]},
        {"messages": [{"role": "user", "content": "Hi", "of_2030": 1}]},
    ),
    "nothing, to unload the model": (
        {"messages": [], "keep_alive": 0},
        {"messages": [], "keep_alive": 0.0},
    ),
    "half an emoji": (
        {"messages": [{"role": "user", "content": "cut \ud83d"}]},
        {"messages": [{"role": "user", "content": "cut \ufffd"}]},
    ),
}


@pytest.mark.parametrize("name", SENT)
async def test_what_ollama_is_sent(name: str) -> None:
    """What it alone understands goes through."""
    asked, sent = SENT[name]
    body = {"messages": [{"role": "user", "content": "Hi"}], "model": "m", **asked}
    async with (
        OddOllama(texts("Hi")) as ollama,
        serve(Settings(port=0, ollama=ollama.url)) as server,
        aiohttp.ClientSession() as http,
    ):
        headers = {"Content-Type": "application/json"}
        # As Python's own `json` writes it: with half of an escape.
        async with http.post(f"{server.url}/chat", json=body, headers=headers) as response:
            assert response.status == 200
            assert b'"completed"' in await response.read()
    (received,) = ollama.bodies
    assert {name: received[name] for name in sent} == sent
    assert "tools" not in received


@pytest.mark.parametrize(
    ("words", "context", "counted", "cut"),
    [
        (800, 256, 256, True),  # the runner's cut fills the context
        (800, 256, 240, True),  # whole messages were left out
        (800, None, 240, True),
        (100, 256, 140, False),
        (100, None, 100, False),
        (100, None, None, False),
    ],
)
async def test_a_prompt_that_was_cut_is_seen(
    words: int, context: int | None, counted: int | None, cut: bool
) -> None:
    """Where Ollama counted fewer tokens than there are words, or as many as fit in."""
    done = {"prompt_eval_count": counted} if counted else {}
    options = {"num_ctx": context} if context else {}
    async with (
        OddOllama(lines({"content": "Hi"}, done=done)) as ollama,
        serve(Settings(port=0, ollama=ollama.url)) as server,
        ChatClient(server.url) as client,
    ):
        answer = await client.ask("word " * words, model="m", options=options)
    assert answer.end
    assert answer.end.usage.prompt_cut is cut


async def test_a_hostile_line_blocks_nobody() -> None:
    """A million tool calls in one line: the run fails, the others go on, memory stays."""
    calls = b",".join([b"{}"] * 1_000_000)
    chunk = b'{"message":{"tool_calls":[%b]},"done":true}\n' % calls
    fine = b'{"message":{"tool_calls":[%b]},"done":true}\n' % b",".join([b"{}"] * 90_000)
    for body in (chunk, fine):
        async with (
            OddOllama(http_answer(body)) as ollama,
            command("dripline-server", "--port", "0", "--ollama", ollama.url) as process,
            aiohttp.ClientSession() as http,
        ):
            url = (await line(process)).removeprefix("dripline is at ")
            asked = {"messages": [{"role": "user", "content": "Hi"}], "model": "m"}
            slowest = 0.0
            loop = asyncio.get_running_loop()
            async with http.post(f"{url}/chat", json=asked) as response:
                reading = asyncio.create_task(response.text())
                while not reading.done():
                    began = loop.time()
                    async with http.get(f"{url}/livez") as alive:
                        assert alive.status == 200
                    slowest = max(slowest, loop.time() - began)
                said = await reading
            assert '"status":"failed"' in said
            assert slowest < 2, "the bound is generous: the machine may be slow"
            memory = peak_memory(process.pid)
            assert memory < 300_000, f"{memory} kB"


def peak_memory(pid: int) -> int:
    """Return the most memory that a process has had, in kB."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return next(int(text.split()[1]) for text in status if text.startswith("VmHWM"))
