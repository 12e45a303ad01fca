"""Ollama's own Python client against the fake: whatever it can ask for, it gets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
import ollama
import pytest

from dripline.testing import (
    Call,
    Clock,
    Ending,
    FakeOllama,
    Fault,
    ModelDetails,
    Pace,
    ReceivedChat,
    Reply,
    Script,
    VirtualClock,
)

HI = [{"role": "user", "content": "Hi"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


@asynccontextmanager
async def serving(
    models: Script | Mapping[str, Script], clock: Clock | None = None
) -> AsyncIterator[tuple[FakeOllama, ollama.AsyncClient]]:
    """A fake with these models, where a single script is `story`, and a client of it."""
    models = {"story": models} if isinstance(models, Script) else models
    async with FakeOllama(models, clock=clock) as fake:
        client = ollama.AsyncClient(fake.url)
        try:
            yield fake, client
        finally:
            await client.close()


async def stream(client: ollama.AsyncClient, **fields: Any) -> list[ollama.ChatResponse]:
    fields = {"model": "story", "messages": HI} | fields
    return [chunk async for chunk in await client.chat(**fields, stream=True)]


async def test_a_chat_as_a_stream() -> None:
    """Each token is a chunk, and the last one brings reason, counts and durations."""
    async with serving(Script(["Once", " upon", " a time"])) as (fake, client):
        chunks = await stream(client)
        assert [chunk.message.content for chunk in chunks] == ["Once", " upon", " a time", ""]
        assert [chunk.done for chunk in chunks] == [False, False, False, True]
        last = chunks[-1]
        assert (last.done_reason, last.eval_count) == ("stop", 3)
        assert last.prompt_eval_count
        assert last.prompt_eval_count > 0
        parts = [last.load_duration, last.prompt_eval_duration, last.eval_duration]
        assert last.total_duration == sum(part or 0 for part in parts)
        assert all(parts)
        assert fake.requests[-1].ended is Ending.FINISHED
        assert fake.requests[-1].tokens_sent == 3


async def test_a_chat_in_one_piece() -> None:
    """Without streaming the same text comes at once, through the blocking client too."""
    async with serving(Script("Once upon a time")) as (fake, client):
        answer = await client.chat("story", HI)
        with ollama.Client(fake.url) as blocking:
            same = await asyncio.to_thread(blocking.chat, "story", HI)
    assert answer.message.content == same.message.content == "Once upon a time"
    assert (answer.done, answer.done_reason, answer.eval_count) == (True, "stop", 4)


async def test_the_models() -> None:
    """`list` and `show` tell what the scripts say about themselves."""
    details = ModelDetails("qwen3", "8.2B", "Q8_0", size=8_000_000_000, context_length=40_960)
    models = {"story": Script(), "deep": Script(Reply("x", thinking="y"), details=details)}
    async with serving(models) as (_, client):
        listed = (await client.list()).models
        shown = await client.show("deep")
    assert [model.model for model in listed] == ["story:latest", "deep:latest"]
    assert listed[1].size == 8_000_000_000
    assert listed[1].details
    assert listed[1].details.parameter_size == "8.2B"
    assert shown.capabilities == ["completion", "thinking"]
    assert shown.details
    assert (shown.details.family, shown.details.quantization_level) == ("qwen3", "Q8_0")
    assert shown.modelinfo
    assert shown.modelinfo["general.architecture"] == "qwen3"
    assert shown.modelinfo["qwen3.context_length"] == 40_960


async def loaded(client: ollama.AsyncClient) -> list[str | None]:
    return [model.model for model in (await client.ps()).models]


async def test_loading_and_unloading() -> None:
    """A chat without messages loads the model, and with `keep_alive` 0 unloads it."""
    async with serving({"story": Script(), "other": Script()}) as (_, client):
        assert await loaded(client) == []
        answer = await client.chat("story", [])
        assert (answer.done, answer.done_reason) == (True, "load")
        await client.chat("other", HI, keep_alive=900)
        assert await loaded(client) == ["other:latest", "story:latest"]
        answer = await client.chat("story", [], keep_alive=0)
        assert (answer.done, answer.done_reason) == (True, "unload")
        assert await loaded(client) == ["other:latest"]
        await client.chat("other", HI, keep_alive=0)
        assert await loaded(client) == []


@pytest.mark.parametrize(
    ("keep_alive", "seconds"),
    [
        (None, 300),
        (60, 60),
        (0.5, 0.5),
        ("90s", 90),
        ("1h30m", 5400),
        ("1.5m", 90),
        ("250ms", 0.25),
    ],
)
async def test_a_model_leaves_when_its_time_is_up(
    keep_alive: float | str | None, seconds: float
) -> None:
    """`keep_alive` counts from the end of the last request, and `ps` tells until when."""
    clock = VirtualClock()
    async with serving(Script(pace=Pace(first_token=10_000)), clock) as (_, client):
        await client.chat("story", HI, keep_alive=keep_alive)
        (model,) = (await client.ps()).models
        assert model.expires_at
        assert model.expires_at.timestamp() == pytest.approx(clock.time_ns() / 1e9 + seconds)
        clock.now += seconds * 0.99
        assert len(await loaded(client)) == 1
        clock.now += seconds * 0.02
        assert await loaded(client) == []


@pytest.mark.parametrize("keep_alive", [-1, "-1m", "-1s"])
async def test_a_model_can_stay_for_ever(keep_alive: float | str) -> None:
    """A negative `keep_alive` is shown as Go's longest duration: 292 years."""
    clock = VirtualClock()
    async with serving(Script(), clock) as (_, client):
        await client.chat("story", HI, keep_alive=keep_alive)
        clock.now += 1e6
        (model,) = (await client.ps()).models
        assert model.expires_at
        assert model.expires_at.year > 2300


async def test_ps_tells_size_and_context() -> None:
    """A loaded model shows its memory and context, which `num_ctx` sets."""
    script = Script(details=ModelDetails(size=1000, context_length=2048))
    async with serving(script) as (_, client):
        await client.chat("story", HI)
        (model,) = (await client.ps()).models
        assert (model.size, model.size_vram, model.context_length) == (1000, 1000, 2048)
        await client.chat("story", [], keep_alive=0)
        await client.chat("story", HI, options={"num_ctx": 512})
        (model,) = (await client.ps()).models
        assert model.context_length == 512


@pytest.mark.parametrize(
    ("think", "thinking"),
    [(None, "Hmm"), (True, "Hmm"), ("high", "Hmm"), ("max", "Hmm"), (False, "")],
)
async def test_thinking_is_on_unless_switched_off(think: bool | str | None, thinking: str) -> None:
    """A thinking model thinks where `think` is not set, and only stops at `false`."""
    async with serving(Script(Reply("Yes", thinking="Hmm"))) as (_, client):
        chunks = await stream(client, think=think)
        whole = await client.chat("story", HI, think=think)
    assert "".join(chunk.message.thinking or "" for chunk in chunks) == thinking
    assert "".join(chunk.message.content or "" for chunk in chunks) == "Yes"
    assert (whole.message.thinking or "", whole.message.content) == (thinking, "Yes")


async def test_tools_make_a_round_trip() -> None:
    """The model calls, the client answers, the model goes on."""

    def reply(request: ReceivedChat) -> Reply:
        if request.messages[-1].role == "tool":
            return Reply(f"{request.messages[-1].tool_name} says {request.messages[-1].content}")
        cities = ["Oslo", "Zürich"]
        return Reply(tool_calls=[Call("get_weather", {"city": city}) for city in cities])

    async with serving(Script(reply, capabilities=["completion", "tools"])) as (_, client):
        chunks = await stream(client, tools=[WEATHER])
        calls = [call for chunk in chunks for call in chunk.message.tool_calls or ()]
        assert [(call.function.name, call.function.arguments) for call in calls] == [
            ("get_weather", {"city": "Oslo"}),
            ("get_weather", {"city": "Zürich"}),
        ]
        whole = await client.chat("story", HI, tools=[WEATHER])
        assert whole.message.tool_calls == calls
        messages: list[Any] = [
            *HI,
            whole.message,
            {"role": "tool", "tool_name": "get_weather", "content": "☀"},
        ]
        answer = await client.chat("story", messages, tools=[WEATHER])
    assert answer.message.content == "get_weather says ☀"


async def test_images_and_format_and_options_arrive() -> None:
    """What the client sends reaches the script unchanged."""
    seen: list[ReceivedChat] = []

    def reply(request: ReceivedChat) -> str:
        seen.append(request)
        return "{}"

    schema = {"type": "object", "properties": {"age": {"type": "integer"}}}
    message = {"role": "user", "content": "Look", "images": [b"\x89PNG\x00\xff"]}
    sees = Script(reply, capabilities=["completion", "vision"])
    async with serving(sees) as (_, client):
        await client.chat("story", [message], format=schema, options={"temperature": 0, "top_k": 3})
        await client.chat("story", HI, format="json")
    assert seen[0].messages[0].images == (b"\x89PNG\x00\xff",)
    assert seen[0].format == schema
    assert seen[0].options == {"temperature": 0, "top_k": 3}
    assert seen[1].format == "json"


async def test_num_predict_ends_with_length() -> None:
    """An answer that is cut short by the request says so."""
    async with serving(Script("one two three four")) as (_, client):
        answer = await client.chat("story", HI, options={"num_predict": 2})
    assert (answer.message.content, answer.done_reason, answer.eval_count) == (
        "one two",
        "length",
        2,
    )


async def test_logprobs() -> None:
    """Each token has its log probability, and as many alternatives as were asked for."""
    async with serving(Script(["né", " two"])) as (_, client):
        chunks = await stream(client, logprobs=True, top_logprobs=2)
        whole = await client.chat("story", HI, logprobs=True)
        silent = await stream(client)
    probs = [prob for chunk in chunks for prob in chunk.logprobs or ()]
    assert [prob.token for prob in probs] == ["né", " two"]
    assert all(prob.logprob < 0 for prob in probs)
    tops = [[top.token for top in prob.top_logprobs or ()] for prob in probs]
    assert [(len(top), top[0]) for top in tops] == [(2, "né"), (2, " two")]
    assert [prob.token for prob in whole.logprobs or ()] == ["né", " two"]
    assert not any(chunk.logprobs for chunk in silent)


@pytest.mark.parametrize(
    ("fields", "status", "message"),
    [
        ({"model": "tale"}, 404, "model 'tale' not found"),
        ({"think": True}, 400, '"story" does not support thinking'),
        (
            {"tools": [WEATHER]},
            400,
            "registry.ollama.ai/library/story:latest does not support tools",
        ),
    ],
)
@pytest.mark.parametrize("streaming", [True, False])
async def test_refusals(fields: dict[str, Any], status: int, message: str, streaming: bool) -> None:
    """What the model cannot do is a status with Ollama's message, streaming or not."""
    async with serving(Script()) as (_, client):
        with pytest.raises(ollama.ResponseError) as caught:
            if streaming:
                await stream(client, **fields)
            else:
                await client.chat(**({"model": "story", "messages": HI} | fields))
    assert (caught.value.status_code, caught.value.error) == (status, message)


# What the package makes of a stream that is not plain: the fake must bring out each of these. They
# are why dripline reads Ollama's stream by itself.
BREAKAGES = {
    "it takes a truncated stream for a whole one": (
        Script("a b c", fault=Fault.truncated(at_token=2)),
        None,
    ),
    "it takes U+0085 for a line end": (Script(["a", "\u0085"]), json.JSONDecodeError),
    "a line of garbage is a raw JSON error": (
        Script("a b c", fault=Fault.garbage(at_token=1)),
        json.JSONDecodeError,
    ),
    "a cut is a raw httpx error": (
        Script("a b c", fault=Fault.cut(at_token=1)),
        httpx.RemoteProtocolError,
    ),
    "a reset is a raw httpx error": (
        Script("a b c", fault=Fault.reset(at_token=1)),
        httpx.TransportError,
    ),
    "an error line has no status": (
        Script("a b c", fault=Fault.error("boom", at_token=1)),
        ollama.ResponseError,
    ),
}


@pytest.mark.parametrize(("script", "error"), BREAKAGES.values(), ids=BREAKAGES.keys())
async def test_where_the_package_breaks(script: Script, error: type[Exception] | None) -> None:
    """The package's known weaknesses show against the fake as they do against Ollama."""
    async with serving(script) as (_, client):
        if error:
            with pytest.raises(error) as caught:
                await stream(client)
            assert getattr(caught.value, "status_code", -1) == -1
        else:
            chunks = await stream(client)
            assert [chunk.message.content for chunk in chunks] == ["a", " b"]
            assert not chunks[-1].done


async def test_the_pace_is_kept() -> None:
    """A paced answer takes its time, and not less."""
    pace = Pace(cold_load=0.03, first_token=0.03, tokens_per_second=100)
    async with serving(Script("one two three four", pace)) as (fake, client):
        cold = (await stream(client))[-1]
        warm = (await stream(client))[-1]
        assert fake.requests[0].seconds >= 0.1
        assert fake.requests[1].seconds >= 0.07
    assert (cold.load_duration, warm.load_duration) == (30_000_000, 1_000_000)
    assert cold.prompt_eval_duration == warm.prompt_eval_duration == 30_000_000
    assert cold.eval_duration == warm.eval_duration == 40_000_000
