"""`/ai-sdk/chat`, driven by the AI SDK's own chat and transport."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from dripline.testing import Call, Ending, Fault, Pace, Reply, Script
from tests.support.npm_clients import AT_ONCE, NpmClients
from tests.support.redis_server import RedisServer, redis_server
from tests.support.several import several
from tests.support.stack import Stack, stack

Json = dict[str, Any]

TOOLS = {"tools": [{"type": "function", "function": {"name": "get_weather"}}]}
STALLS = Script(["Never", " ends"], fault=Fault.stall(at_token=2))


def text(words: str, role: str = "user") -> Json:
    return {"id": "1", "role": role, "parts": [{"type": "text", "text": words}]}


async def asked_of_ollama(s: Stack) -> Any:
    body = s.ollama.chats[-1].body
    assert isinstance(body, dict)
    return body["messages"]


async def test_a_chat(npm_clients: NpmClients) -> None:
    """Reasoning and text are parts of one message, with what it cost beside them."""
    async with stack(Script(Reply(["Hello", " there"], thinking=["Hm", "."]))) as s:
        said = await npm_clients.chat(s.url)
    assert said.said["status"] == "ready"
    assert said.said["finish"]["finishReason"] == "stop"
    kinds = [part["type"] for part in said.message["parts"]]
    assert kinds == ["step-start", "reasoning", "text"]
    assert {part.get("state", "done") for part in said.message["parts"]} == {"done"}
    assert (said.joined("reasoning"), said.joined("text")) == ("Hm.", "Hello there")
    assert said.message["metadata"]["usage"]["completion_tokens"] == 4
    assert said.message["metadata"]["model"] == "story"


async def test_the_answer_s_head_and_tail() -> None:
    """The header that the SDK looks for, an id for every frame, and [DONE] last."""
    body = {"id": "chat", "messages": [text("Hi")], "trigger": "submit-message"}
    async with stack(Script("Hi")) as s, s.http.post(f"{s.url}/ai-sdk/chat", json=body) as response:
        assert response.headers["x-vercel-ai-ui-message-stream"] == "v1"
        frames = (await response.text()).split("\n\n")
    assert frames[-2:] == ["id: 3\ndata: [DONE]", ""]
    assert all(frame.startswith("id: ") for frame in frames[:-1])


async def test_tools_of_the_page(npm_clients: NpmClients) -> None:
    """A call comes as a part; what the page's tool gave goes on with the same message."""

    def reply(request: Any) -> Reply:
        if request.messages[-1].role == "tool":
            return Reply(["Sunny."])
        return Reply("Let me look.", tool_calls=[Call("get_weather", {"city": "Bern"})])

    async with stack(Script(reply, capabilities=["completion", "tools"])) as s:
        first = await npm_clients.chat(s.url, body=TOOLS)
        assert first.said["finish"]["finishReason"] == "tool-calls"
        ((call_id, name, arguments),) = first.tool_calls
        assert (name, arguments) == ("get_weather", {"city": "Bern"})
        call = first.message["parts"][-1]
        call |= {"state": "output-available", "output": {"degrees": 20}}
        second = await npm_clients.chat(s.url, body=TOOLS, does="continue", messages=first.messages)
        messages = await asked_of_ollama(s)
        again = await npm_clients.chat(s.url, does="resume", messages=first.messages)
        reloaded = await npm_clients.chat(s.url, does="resume")
    assert again.messages == second.messages
    assert bare(reloaded.messages) == bare(second.messages[1:])
    assert [message["id"] for message in second.messages] == [m["id"] for m in first.messages]
    assert second.joined("text") == "Let me look.Sunny."
    function = {"name": "get_weather", "arguments": {"city": "Bern"}}
    assert messages[1:] == [
        {
            "role": "assistant",
            "content": "Let me look.",
            "tool_calls": [{"id": call_id, "type": "function", "function": function}],
        },
        {
            "role": "tool",
            "content": '{"degrees":20}',
            "tool_name": "get_weather",
            "tool_call_id": call_id,
        },
    ]


def bare(messages: list[Json]) -> list[Json]:
    """Messages without what a reader calls its parts."""
    return [
        {**message, "parts": [{**part, "id": None} for part in message["parts"]]}
        for message in messages
    ]


async def test_the_page_is_changed(npm_clients: NpmClients) -> None:
    """`data-ui-control` parts, told to `onData` too; the model's loading only there."""
    script = Script("Done.", Pace(cold_load=0.3))
    async with stack(script, loading_after=0.01) as s:
        said = await npm_clients.chat(s.url, "Change color to light green")
    control, status = said.said["data"]
    assert control["data"] == {"action": "change_theme", "color": "#90EE90"}
    assert status["data"] == {"phase": "loading", "model": "story"}
    kinds = [part["type"] for part in said.message["parts"]]
    assert kinds == ["step-start", "data-ui-control", "text"]


FAULTS = {
    "cut": (Fault.cut(at_token=1), "upstream_cut"),
    "truncated": (Fault.truncated(at_token=1), "upstream_truncated"),
    "before the first token": (Fault.status(503), "ollama_busy"),
}


@pytest.mark.parametrize(("fault", "code"), FAULTS.values(), ids=FAULTS)
async def test_a_failure_is_an_error(npm_clients: NpmClients, fault: Fault, code: str) -> None:
    """The chat's status is "error", its error says what to do, its message has the code."""
    async with stack(Script(["a", "b"], fault=fault)) as s:
        said = await npm_clients.chat(s.url)
    assert said.said["status"] == "error"
    assert "Ollama" in said.said["error"]
    assert said.message["metadata"]["error"]["code"] == code


async def test_resume_after_a_reload(npm_clients: NpmClients) -> None:
    """A page that is opened again gets the newest answer from its beginning, going on or over."""
    async with stack(Script(["a"] * 50)) as s:
        asked = await npm_clients.chat(s.url, id="a/b ü")
        again = await npm_clients.chat(s.url, id="a/b ü", does="resume")
        with_the_old = await npm_clients.chat(
            s.url, id="a/b ü", does="resume", messages=asked.messages
        )
        unknown = await npm_clients.chat(s.url, id="another", does="resume")
        other_token = await npm_clients.chat(
            s.url, id="a/b ü", does="resume", headers={"Authorization": "Bearer x"}
        )
    assert again.messages == [asked.message]
    assert with_the_old.messages == asked.messages
    for said in (unknown, other_token):
        assert said.messages == []
        assert said.said["status"] == "ready"


async def test_resume_while_it_goes_on(npm_clients: NpmClients) -> None:
    """Its reader has left, the run has not ended: all of it comes, from the log."""
    async with stack(Script(["a"] * 20, Pace(tokens_per_second=50))) as s:
        left = await npm_clients.chat(s.url, abortAfter=8)
        resumed = await npm_clients.chat(s.url, does="resume")
        request = await s.ollama.wait_for_request()
        await request.wait_ended()
    assert left.said["finish"]["isAbort"]
    assert resumed.joined("text") == "a" * 20
    assert request.ended is Ending.FINISHED
    assert len(s.ollama.chats) == 1


async def test_stop(npm_clients: NpmClients) -> None:
    """`DELETE` stops the chat's run, which readers see as aborted; then there is nothing to do."""
    async with stack(STALLS) as s:
        url = f"{s.url}/ai-sdk/chat/chat/stream"
        await npm_clients.chat(s.url, abortAfter=6)
        async with s.http.get(url) as reader:
            await reader.content.readuntil(b"Never")
            async with s.http.delete(url) as response:
                assert response.status == 202
            rest = (await reader.content.read()).decode()
        async with s.http.delete(url) as response:
            assert response.status == 204
        request = await s.ollama.wait_for_request()
        assert await request.wait_ended() is Ending.CLIENT_LEFT
    assert '"type":"abort"' in rest
    assert rest.endswith("data: [DONE]\n\n")


async def test_stop_with_the_resuming_fetch(npm_clients: NpmClients) -> None:
    """With `agui-fetch.js` the SDK's own `stop()` stops the model."""
    async with stack(STALLS) as s:
        said = await npm_clients.chat(s.url, abortAfter=6, resuming=AT_ONCE)
        request = await s.ollama.wait_for_request()
        assert await request.wait_ended() is Ending.CLIENT_LEFT
    assert said.said["status"] == "ready"
    assert said.said["unhandled"] == []


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


async def test_resume_through_another_process(npm_clients: NpmClients, redis: RedisServer) -> None:
    """With Redis the chat's id leads to its run from any server."""
    async with several(Script(["a"] * 5), redis) as s:
        one, other = s.servers
        asked = await npm_clients.chat(one.url)
        resumed = await npm_clients.chat(other.url, does="resume")
    assert resumed.messages == [asked.message]


async def test_a_message_that_went_on_is_resumed_whole(npm_clients: NpmClients) -> None:
    """With every kind of part that it had before; the page's tools are not called again."""
    tool = {"toolCallId": "c", "input": {"a": 1}}
    before: list[Json] = [
        {"type": "step-start"},
        {"type": "reasoning", "text": "Hm", "state": "done"},
        {"type": "data-ui-control", "id": "d", "data": {"action": "change_theme"}},
        {**tool, "type": "tool-f", "state": "output-available", "output": {"b": 2}},
        {**tool, "type": "tool-g", "toolCallId": "e", "state": "output-error", "errorText": "no"},
    ]
    messages = [text("Hi"), {"id": "m", "role": "assistant", "parts": before}]
    async with stack(Script("Done.")) as s:
        await npm_clients.chat(s.url, does="continue", messages=messages)
        resumed = await npm_clients.chat(s.url, does="resume")
    assert resumed.message["id"] == "m"
    assert [part["type"] for part in resumed.message["parts"]] == [
        *(part["type"] for part in before),
        "step-start",
        "text",
    ]
    for part, was in zip(resumed.message["parts"], before, strict=False):
        assert was.items() <= part.items()
    assert "tool-input-available" not in [chunk["type"] for chunk in resumed.said["chunks"]]


@pytest.mark.parametrize("run_log", ["memory", "redis"])
async def test_a_chat_that_cannot_be_resumed(redis: RedisServer, run_log: str) -> None:
    """Its run ends with its reader, so there is nothing to come back to, nor an earlier answer."""
    where = redis.url if run_log == "redis" else run_log
    async with stack(Script(["a"] * 3), run_log=where) as s:
        for leaving in ("continue", "stop"):
            body = {"id": "chat", "messages": [text("Hi")], "on_disconnect": leaving}
            async with s.http.post(f"{s.url}/ai-sdk/chat", json=body) as response:
                assert '"finishReason":"stop"' in await response.text()
        async with s.http.get(f"{s.url}/ai-sdk/chat/chat/stream") as response:
            assert response.status == 204


async def test_forgotten_runs_are_not_resumed() -> None:
    """204, once the run is let go of; nothing is kept for a chat without a run."""
    async with stack(Script("Hi"), keep_runs=1) as s:
        for chat in ("one", "two", "two", "three"):
            body = {"id": chat, "messages": [text("Hi")]}
            async with s.http.post(f"{s.url}/ai-sdk/chat", json=body) as response:
                await response.read()
        statuses = []
        for chat in ("one", "two", "three"):
            async with s.http.get(f"{s.url}/ai-sdk/chat/{chat}/stream") as response:
                statuses.append(response.status)
    assert statuses == [204, 204, 200]


async def test_what_was_dropped_is_said() -> None:
    """A stream that cannot begin at its beginning is 410: no answer with a hole in it."""
    async with stack(Script(["abc"] * 200), log_bytes=2000) as s:
        body = {"id": "chat", "messages": [text("Hi")]}
        async with s.http.post(f"{s.url}/ai-sdk/chat", json=body) as response:
            await response.read()
        async with s.http.get(f"{s.url}/ai-sdk/chat/chat/stream") as response:
            assert response.status == 410
            assert int(response.headers["X-First-Event-Id"]) > 1
            assert "native" in await response.text()


PNG = {"type": "file", "mediaType": "image/png", "url": "data:image/png;base64,AAAA"}


async def test_everything_that_a_page_can_say() -> None:
    """Every kind of part that says something to a model reaches Ollama in its own form."""
    tool = {"toolCallId": "c", "input": {"a": 1}}
    failed = {**tool, "type": "tool-f", "state": "output-error", "errorText": "no"}
    denied = {**tool, "type": "dynamic-tool", "toolName": "g", "state": "output-denied"}
    typing = {"type": "tool-f", "toolCallId": "d", "state": "input-streaming"}
    messages = [
        text("Be brief.", "system"),
        {"id": "2", "role": "user", "parts": [{"type": "text", "text": "What?"}, PNG]},
        {
            "id": "3",
            "role": "assistant",
            "parts": [
                {"type": "step-start"},
                {"type": "reasoning", "text": "I see"},
                {"type": "text", "text": "A cat."},
                {"type": "data-ui-control", "data": {}},
                failed,
                denied,
                typing,
                {"type": "step-start"},
                {"type": "text", "text": "Or not."},
            ],
            "metadata": {"x": 1},
        },
        text("Sure?"),
    ]
    fields = {"trigger": "submit-message", "options": {"seed": 1}, "ui_control": "off"}
    async with stack(Script("Yes.")) as s:
        body = {"id": "chat", "messages": messages, **fields}
        async with s.http.post(f"{s.url}/ai-sdk/chat", json=body) as response:
            assert response.status == 200
            await response.read()
        messages = await asked_of_ollama(s)

    def called(name: str) -> Json:
        function = {"name": name, "arguments": {"a": 1}}
        return {"id": "c", "type": "function", "function": function}

    result = {"role": "tool", "tool_call_id": "c"}
    assert messages == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What?", "images": ["AAAA"]},
        {
            "role": "assistant",
            "content": "A cat.",
            "thinking": "I see",
            "tool_calls": [called("f"), called("g")],
        },
        {**result, "tool_name": "f", "content": "Error: no"},
        {**result, "tool_name": "g", "content": "The user did not allow this call."},
        {"role": "assistant", "content": "Or not."},
        {"role": "user", "content": "Sure?"},
    ]


def parts(*parts: Json, role: str = "user") -> Json:
    return {"messages": [{"id": "1", "role": role, "parts": list(parts)}]}


REFUSED: dict[str, tuple[Json, str]] = {
    "no id": ({"id": ""}, "id"),
    "no messages": ({"messages": []}, "messages"),
    "a role": (parts(role="tool"), "messages.0.role"),
    "no parts": ({"messages": [{"id": "1", "role": "user", "content": "Hi"}]}, "messages.0.parts"),
    "an address": (
        parts({**PNG, "url": "http://10.0.0.1/cat.png"}),
        "messages.0.parts.0.url",
    ),
    "a document": (
        parts({**PNG, "url": "data:application/pdf;base64,AAAA"}),
        "messages.0.parts.0.url",
    ),
    "a file of the model's": (parts(PNG, role="assistant"), "messages.0.parts.0.type"),
    "a kind": (parts({"type": "custom"}), "messages.0.parts.0.type"),
    "no text": (parts({"type": "text"}), "messages.0.parts.0.text"),
    "no state": (parts({"type": "tool-f"}, role="assistant"), "messages.0.parts.0.state"),
    "an option": ({"top_logprobs": "2"}, "top_logprobs"),
    "a long id": ({"messages": [text("Hi") | {"id": "x" * 257}]}, "messages.0.id"),
    "a long chat id": ({"id": "x" * 257}, "id"),
    "a whole answer": ({"stream": False}, "stream"),
}


async def test_what_is_refused() -> None:
    """A 400 that names the field, and no run."""
    good = {"id": "chat", "messages": [text("Hi")]}
    async with stack(Script("Hi")) as s:
        for what, (wrong, field) in REFUSED.items():
            async with s.http.post(f"{s.url}/ai-sdk/chat", json=good | wrong) as response:
                assert response.status == 400, what
                error = (await response.json())["error"]
            assert error["code"] == "bad_field", what
            assert error["message"].startswith(f"{field}:"), (what, error)
        assert s.ollama.chats == []
