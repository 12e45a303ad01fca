"""`POST /agui`, driven by the real AG-UI client."""

from __future__ import annotations

import math
import sys
from typing import Any

import orjson
import pytest

from dripline.testing import Call, Ending, Fault, Pace, Reply, Script
from tests.support.npm_clients import AT_ONCE, NpmClients
from tests.support.stack import Stack, stack

Json = dict[str, Any]

HI: list[Json] = [{"id": "1", "role": "user", "content": "Hi"}]
GREEN: list[Json] = [{"id": "1", "role": "user", "content": "Change color to light green"}]


def tool(name: str, *arguments: str) -> Json:
    """A tool of the client's."""
    properties = {argument: {"type": "string"} for argument in arguments}
    parameters = {"type": "object", "properties": properties, "required": list(arguments)}
    return {"name": name, "description": f"Does {name}.", "parameters": parameters}


async def asked_of_ollama(s: Stack) -> Json:
    """The body of the newest chat that Ollama got."""
    body = s.ollama.chats[-1].body
    assert isinstance(body, dict)
    return dict(body)


async def test_a_chat(npm_clients: NpmClients) -> None:
    """Thinking and text: in messages of their own, opened and closed, in one run."""
    async with stack(Script(Reply(["Hello", " there"], thinking=["Hm", "."]))) as s:
        said = await npm_clients.agui(s.url, HI)
    assert said.kinds == [
        "RUN_STARTED",
        "REASONING_START",
        "REASONING_MESSAGE_START",
        "REASONING_MESSAGE_CONTENT",
        "REASONING_MESSAGE_END",
        "REASONING_END",
        "TEXT_MESSAGE_START",
        "TEXT_MESSAGE_CONTENT",
        "TEXT_MESSAGE_END",
        "RUN_FINISHED",
    ]
    assert [message["role"] for message in said.messages] == ["user", "reasoning", "assistant"]
    assert (said.thinking, said.text) == ("Hm.", "Hello there")
    assert said.events[0]["protocolVersion"] == "1.0"
    assert said.events[-1]["usage"][0]["outputTokens"] == 4
    assert said.ending == ("completed", "stop")


async def test_frontend_tools_over_two_runs(npm_clients: NpmClients) -> None:
    """The first run leaves the calls to the client; the next one brings what they gave."""
    calls = [Call("get_weather", {"city": "Bern"}), Call("get_time", {})]
    tools = [tool("get_weather", "city"), tool("get_time")]

    def reply(request: Any) -> Reply:
        if request.messages[-1].role == "tool":
            return Reply("Sunny.")
        return Reply("Let me look.", tool_calls=calls)

    script = Script(reply, capabilities=["completion", "tools"])
    async with stack(script) as s:
        first = await npm_clients.agui(s.url, HI, tools=tools)
        pending = first.events[-1]["outcome"]["pendingToolCallIds"]
        assert [name for _, name, _ in first.tool_calls] == ["get_weather", "get_time"]
        assert pending == [call_id for call_id, _, _ in first.tool_calls]
        results = [
            {"id": "r1", "role": "tool", "toolCallId": pending[0], "content": "20 degrees"},
            {"id": "r2", "role": "tool", "toolCallId": pending[1], "content": "", "error": "no"},
        ]
        second = await npm_clients.agui(
            s.url, [*first.messages, *results], tools=tools, runId="run2"
        )
        body = await asked_of_ollama(s)
    assert second.messages[-1]["content"] == "Sunny."
    assert body["messages"] == [
        {"role": "user", "content": "Hi"},
        {
            "role": "assistant",
            "content": "Let me look.",
            "tool_calls": [
                {
                    "id": pending[0],
                    "type": "function",
                    "function": {"name": "get_weather", "arguments": {"city": "Bern"}},
                },
                {
                    "id": pending[1],
                    "type": "function",
                    "function": {"name": "get_time", "arguments": {}},
                },
            ],
        },
        {
            "role": "tool",
            "content": "20 degrees",
            "tool_call_id": pending[0],
            "tool_name": "get_weather",
        },
        {
            "role": "tool",
            "content": "Error: no",
            "tool_call_id": pending[1],
            "tool_name": "get_time",
        },
    ]
    assert body["tools"][1]["function"] == tool("get_time")


FAULTS = {
    "cut": (Fault.cut(at_token=1), "upstream_cut"),
    "truncated": (Fault.truncated(at_token=1), "upstream_truncated"),
    "error line": (Fault.error("out of memory", at_token=1), "ollama_error"),
    "before the first token": (Fault.status(500), "ollama_failed"),
}


@pytest.mark.parametrize(("fault", "code"), FAULTS.values(), ids=FAULTS)
async def test_a_failure_is_never_success(npm_clients: NpmClients, fault: Fault, code: str) -> None:
    """Whatever goes wrong upstream is one `RUN_ERROR`, with the text so far closed before it."""
    async with stack(Script(["a", "b"], fault=fault)) as s:
        said = await npm_clients.agui(s.url, HI)
    assert said.ending == ("failed", code)
    assert said.events[-1]["message"]
    assert [event["type"] for event in said.events].count("TEXT_MESSAGE_START") == [
        event["type"] for event in said.events
    ].count("TEXT_MESSAGE_END")


@pytest.mark.parametrize("resuming", [None, AT_ONCE], ids=["plain", "agui-fetch"])
async def test_abort_stops_the_model(npm_clients: NpmClients, resuming: Json | None) -> None:
    """`abortRun` closes Ollama's socket, with the resuming fetch and without."""
    script = Script("Never ends", fault=Fault.stall(at_token=1))
    async with stack(script) as s:
        said = await npm_clients.agui(s.url, HI, resuming=resuming, abortAfter=3)
        request = await s.ollama.wait_for_request()
        await request.wait_ended()
        assert request.ended is Ending.CLIENT_LEFT
    assert said.said["unhandled"] == []
    assert said.events[-1]["type"] != "RUN_FINISHED"


async def test_stopped_by_another(npm_clients: NpmClients) -> None:
    """A run that is stopped through `DELETE` is cancelled, which is no success."""
    async with stack(Script("Never ends", fault=Fault.stall(at_token=1))) as s:
        body = {"threadId": "t", "runId": "r", "messages": HI, "protocolVersion": "1.0"}
        async with s.http.post(f"{s.url}/agui", json=body) as response:
            await response.content.readuntil(b"TEXT_MESSAGE_CONTENT")
            run_id = response.headers["X-Run-Id"]
            await s.http.delete(f"{s.url}/runs/{run_id}")
            rest = (await response.content.read()).decode()
    assert rest.count('"RUN_FINISHED"') == 1
    assert rest.rstrip().endswith("}")
    last = orjson.loads(rest.rpartition("data: ")[2])
    assert last["outcome"] == {"type": "cancelled"}


async def test_the_page_is_changed(npm_clients: NpmClients) -> None:
    """By the client's own tool where it offers a fitting one, else by an event of dripline's."""
    able = Script("Done.", capabilities=["completion", "tools"])
    async with stack({"story": Script("Done."), "able": able}, model="story") as s:
        plain = await npm_clients.agui(s.url, GREEN)
        offered = await npm_clients.agui(s.url, GREEN, tools=[tool("change_theme", "color")])
        other = await npm_clients.agui(
            s.url,
            GREEN,
            tools=[tool("change_theme", "hue")],
            forwardedProps={"dripline": {"model": "able", "ui_control": "rules"}},
        )
    for said in (plain, other):
        assert said.events[1]["type"] == "CUSTOM"
        assert said.events[1]["name"] == "dripline.ui_control"
        assert said.events[1]["value"] == {"action": "change_theme", "color": "#90EE90"}
    ((call_id, name, arguments),) = offered.tool_calls
    assert (name, arguments) == ("change_theme", {"color": "#90EE90"})
    assert offered.events[-1]["outcome"]["pendingToolCallIds"] == [call_id]
    assert offered.text == "Done."


async def test_a_loading_model_is_a_step(npm_clients: NpmClients) -> None:
    """While Ollama loads it the client has something to show."""
    async with stack(Script("Hi", Pace(cold_load=0.3)), loading_after=0.01) as s:
        said = await npm_clients.agui(s.url, HI)
    assert said.kinds[:3] == ["RUN_STARTED", "STEP_STARTED", "STEP_FINISHED"]
    assert said.events[1]["stepName"] == said.events[2]["stepName"] == "loading story"


async def test_everything_that_a_client_can_say(npm_clients: NpmClients) -> None:
    """Roles, pictures, context, state and dripline's own options reach Ollama in its own form."""
    messages: list[Json] = [
        {"id": "1", "role": "system", "content": "Be brief."},
        {"id": "2", "role": "developer", "content": "Be kind."},
        {
            "id": "3",
            "role": "user",
            "content": [
                {"type": "text", "text": "What"},
                {
                    "type": "image",
                    "source": {"type": "data", "value": "AAAA", "mimeType": "image/png"},
                },
                {"type": "text", "text": "is it?"},
                {
                    "type": "image",
                    "source": {"type": "url", "value": "data:image/png;base64,BBBB"},
                },
            ],
        },
        {"id": "4", "role": "reasoning", "content": "I see"},
        {"id": "5", "role": "assistant", "content": "A cat."},
        {
            "id": "6",
            "role": "activity",
            "activityType": "search",
            "content": {"progress": 1},
        },
        {"id": "7", "role": "user", "content": "Sure?"},
    ]
    able = ["completion", "vision", "tools", "thinking"]
    async with stack(Script("Yes.", capabilities=able)) as s:
        said = await npm_clients.agui(
            s.url,
            messages,
            context=[{"description": "The page", "value": "cats.html"}],
            state={"n": 1},
            forwardedProps={"dripline": {"options": {"seed": 1}, "think": False}, "theirs": 1},
        )
        body = await asked_of_ollama(s)
    assert said.text.endswith("Yes.")
    assert body["options"] == {"seed": 1}
    assert body["think"] is False
    told = 'What the application tells you:\nThe page: cats.html\nThe application\'s state: {"n":1}'
    assert body["messages"] == [
        {"role": "system", "content": told},
        {"role": "system", "content": "Be brief."},
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "What\nis it?", "images": ["AAAA", "BBBB"]},
        {"role": "assistant", "content": "A cat.", "thinking": "I see"},
        {"role": "user", "content": "Sure?"},
    ]


def content(*parts: Json) -> list[Json]:
    return [{"id": "1", "role": "user", "content": list(parts)}]


CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{"}}
REFUSED: dict[str, tuple[Json, str]] = {
    "no thread": ({"threadId": None}, "threadId"),
    "an empty run": ({"runId": ""}, "runId"),
    "a long thread": ({"threadId": "x" * 257}, "threadId"),
    "no messages": ({"messages": []}, "messages"),
    "a role": ({"messages": [{"id": "1", "role": "robot", "content": "Hi"}]}, "messages.0"),
    "a document": (
        {
            "messages": content(
                {
                    "type": "document",
                    "source": {"type": "data", "value": "AA", "mimeType": "application/pdf"},
                }
            )
        },
        "messages.0.content.0: Ollama takes no document",
    ),
    "an address": (
        {
            "messages": content(
                {"type": "image", "source": {"type": "url", "value": "http://10.0.0.1/"}}
            )
        },
        "messages.0.content.0.source.value",
    ),
    "arguments": (
        {"messages": [{"id": "1", "role": "assistant", "toolCalls": [CALL]}]},
        "messages.0.toolCalls.0.function.arguments",
    ),
    "resume": ({"resume": [{"interruptId": "i", "status": "resolved"}]}, "resume"),
    "an option": (
        {"forwardedProps": {"dripline": {"top_logprobs": "2"}}},
        "forwardedProps.dripline.top_logprobs",
    ),
    "options": ({"forwardedProps": {"dripline": 1}}, "forwardedProps.dripline"),
    "messages twice": (
        {"forwardedProps": {"dripline": {"messages": []}}},
        "forwardedProps.dripline.messages",
    ),
}


async def test_what_is_refused(npm_clients: NpmClients) -> None:
    """A 400 that names the field, and no run; the client rejects with the same words."""
    good = {"threadId": "t", "runId": "r", "messages": HI}
    async with stack(Script("Hi")) as s:
        for what, (wrong, words) in REFUSED.items():
            async with s.http.post(f"{s.url}/agui", json=good | wrong) as response:
                assert response.status == 400, what
                error = (await response.json())["error"]
            assert error["code"] == "bad_field", what
            assert error["message"].startswith(words), what
        headers = {"X-On-Disconnect": "perhaps"}
        async with s.http.post(f"{s.url}/agui", json=good, headers=headers) as response:
            assert "X-On-Disconnect" in await response.text()
        assert s.ollama.chats == []
        said = await npm_clients.agui(s.url, HI, forwardedProps={"dripline": {"model": 1}})
    assert "forwardedProps.dripline.model" in said.said["error"]


async def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer says what to install; nothing else is the worse for it."""
    monkeypatch.setitem(sys.modules, "ag_ui.core", None)
    monkeypatch.delitem(sys.modules, "dripline_server.routes.agui_input", raising=False)
    async with stack(Script("Hi")) as s:
        async with s.http.post(f"{s.url}/agui", json={}) as response:
            assert response.status == 501
            error = (await response.json())["error"]
        assert error["code"] == "extra_missing"
        assert "dripline[server,agui]" in error["message"]
        assert (await s.client.ask("Hi")).text == "Hi"


@pytest.mark.parametrize("header", [None, "grace", "continue"])
async def test_what_a_reader_s_leaving_does(header: str | None) -> None:
    """A client that cannot come back takes its run with it; one that can says so."""
    headers = {"X-On-Disconnect": header} if header else {}
    body = {"threadId": "t", "runId": "r", "messages": HI}
    async with stack(Script("Never ends", fault=Fault.stall(at_token=1)), grace=math.inf) as s:
        async with s.http.post(f"{s.url}/agui", json=body, headers=headers) as response:
            await response.content.readuntil(b"TEXT_MESSAGE_CONTENT")
            run_id = response.headers["X-Run-Id"]
        request = await s.ollama.wait_for_request()
        if header:
            async with s.http.get(f"{s.url}/runs/{run_id}") as state:
                assert (await state.json())["status"] == "running"
        else:
            await request.wait_ended()
