"""`/v1/chat/completions` and `/v1/models`, asked by the real `openai` package."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import openai
import orjson
import pytest
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionChunk
from pydantic import BaseModel

from dripline import EventDecoder
from dripline.testing import Call, Ending, FakeOllama, Fault, Pace, Reply, Script
from tests.support.stack import Stack, stack, user

Json = dict[str, Any]

WEATHER: Json = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Tells the weather.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"0" * 32).decode()


@asynccontextmanager
async def asked(
    models: Script | dict[str, Script], **settings: Any
) -> AsyncIterator[tuple[Stack, Any]]:
    """The stack, and a real client of its `/v1`: untyped, as tests send what its types refuse."""
    async with (
        stack(models, **settings) as s,
        AsyncOpenAI(
            base_url=f"{s.url}/v1", api_key=settings.get("token", "none"), max_retries=0
        ) as client,
    ):
        yield s, client


def sent(ollama: FakeOllama) -> Json:
    """What Ollama was asked last."""
    body = ollama.chats[-1].body
    assert isinstance(body, dict)
    return body


async def test_a_whole_answer() -> None:
    """Text, why it ended, what it cost, and the model's name."""
    async with asked(Script(["Blue", ", of ", "course."])) as (_, client):
        said = await client.chat.completions.create(model="story", messages=user("Why?"))
    assert said.choices[0].message.content == "Blue, of course."
    assert said.choices[0].finish_reason == "stop"
    assert said.model == "story"
    assert said.id.startswith("chatcmpl-")
    assert said.usage
    assert said.usage.total_tokens == said.usage.prompt_tokens + said.usage.completion_tokens > 0


@pytest.mark.parametrize("include_usage", [True, False])
async def test_a_streamed_answer(include_usage: bool) -> None:
    """Each piece is a chunk; the role comes first, the cost last and only where it is asked for."""
    async with asked(Script(["Blue", ", of ", "course."])) as (_, client):
        stream = await client.chat.completions.create(
            model="story",
            messages=user("Why?"),
            stream=True,
            stream_options={"include_usage": include_usage},
        )
        chunks = [chunk async for chunk in stream]
    choices = [chunk.choices[0] for chunk in chunks if chunk.choices]
    assert [choice.delta.content for choice in choices] == ["Blue", ", of ", "course.", None]
    assert [choice.delta.role for choice in choices] == ["assistant", None, None, None]
    assert [choice.finish_reason for choice in choices] == [None, None, None, "stop"]
    assert len({(chunk.id, chunk.created, chunk.model) for chunk in chunks}) == 1
    assert [chunk.usage is not None for chunk in chunks] == [
        *[False] * 4,
        *[True] * include_usage,
    ]


async def test_thinking_is_reasoning() -> None:
    """As with Ollama's own `/v1`: `delta.reasoning`, and `message.reasoning`."""
    script = Script(Reply(["42."], thinking=["Let me ", "see."]))
    async with asked(script) as (s, client):
        create = client.chat.completions.create
        whole = await create(model="story", messages=user("?"), reasoning_effort="high")
        stream = await create(model="story", messages=user("?"), stream=True)
        deltas = [chunk.choices[0].delta async for chunk in stream]
        first = s.ollama.chats[0].body
        assert isinstance(first, dict)
        assert first["think"] == "high"
    assert whole.choices[0].message.reasoning == "Let me see."
    assert whole.choices[0].message.content == "42."
    assert [d.reasoning for d in deltas if hasattr(d, "reasoning")] == ["Let me ", "see."]


async def test_a_tool_is_called_and_answered() -> None:
    """A call, its arguments as a string, and the second request with what the tool gave."""
    call = Reply(tool_calls=[Call("get_weather", {"city": "Bern"})])

    def answer(request: Any) -> Reply:
        return Reply(["Sunny."]) if request.messages[-1].role == "tool" else call

    async with asked(Script(answer, capabilities=["completion", "tools"])) as (s, client):
        create = client.chat.completions.create
        said = await create(model="story", messages=user("Weather?"), tools=[WEATHER])
        stream = await create(model="story", messages=user("W?"), tools=[WEATHER], stream=True)
        chunks = [chunk async for chunk in stream]
        message = said.choices[0].message
        result = {
            "role": "tool",
            "tool_call_id": message.tool_calls[0].id,
            "content": "sunny",
        }
        after = await create(
            model="story", messages=[*user("Weather?"), message, result], tools=[WEATHER]
        )
        told = sent(s.ollama)["messages"]
    assert said.choices[0].finish_reason == "tool_calls"
    assert message.tool_calls[0].function.arguments == '{"city":"Bern"}'
    (streamed,) = [d for c in chunks for d in c.choices[0].delta.tool_calls or ()]
    assert (streamed.index, streamed.function.name) == (0, "get_weather")
    assert chunks[-1].choices[0].finish_reason == "tool_calls"
    assert after.choices[0].message.content == "Sunny."
    assert told[1]["tool_calls"][0]["function"] == {
        "name": "get_weather",
        "arguments": {"city": "Bern"},
    }
    assert told[2]["tool_name"] == "get_weather"


class City(BaseModel):
    """A place."""

    name: str
    people: int


async def test_structured_output() -> None:
    """`response_format` becomes Ollama's `format`."""
    async with asked(Script(['{"name": "Bern", "people": 134794}'])) as (s, client):
        said = await client.chat.completions.parse(
            model="story",
            messages=user("Which?"),
            response_format=City,
        )
        assert sent(s.ollama)["format"]["properties"].keys() == {"name", "people"}
        await client.chat.completions.create(
            model="story",
            messages=user("JSON?"),
            response_format={"type": "json_object"},
        )
        assert sent(s.ollama)["format"] == "json"
    assert said.choices[0].message.parsed == City(name="Bern", people=134794)


# A field of OpenAI's -> what Ollama is to get.
FIELDS: list[tuple[Json, Json]] = [
    ({"max_tokens": 5}, {"options": {"num_predict": 5}}),
    ({"max_tokens": 5, "max_completion_tokens": 7}, {"options": {"num_predict": 7}}),
    ({"stop": "END"}, {"options": {"stop": ["END"]}}),
    ({"stop": ["a", "b"], "seed": 3}, {"options": {"stop": ["a", "b"], "seed": 3}}),
    ({"temperature": 0, "top_p": 0.5}, {"options": {"temperature": 0, "top_p": 0.5}}),
    ({"options": {"num_ctx": 9}, "temperature": 1}, {"options": {"num_ctx": 9, "temperature": 1}}),
    ({"reasoning_effort": "none"}, {"think": False}),
    ({"reasoning": {"effort": "low"}}, {"think": "low"}),
    ({"logprobs": True, "top_logprobs": 2}, {"logprobs": True, "top_logprobs": 2}),
    ({"tools": [WEATHER], "tool_choice": "auto"}, {"tools": [WEATHER]}),
    ({"user": "me", "n": 1, "store": False, "metadata": {"a": "b"}}, {}),
    ({"keep_alive": "5m"}, {"keep_alive": "5m"}),
    ({"top_k": 5, "min_p": 0.1}, {"options": {"top_k": 5, "min_p": 0.1}}),
    ({"repeat_penalty": 1.1}, {"options": {"repeat_penalty": 1.1}}),
    ({"think": "high"}, {"think": "high"}),
    ({"tools": [WEATHER], "tool_choice": "none"}, {"tools": None}),
    ({"logit_bias": {}, "stop": None, "max_tokens": None}, {}),
    ({"response_format": {"type": "text"}, "parallel_tool_calls": True, "tools": []}, {}),
]


@pytest.mark.parametrize(("fields", "expected"), FIELDS, ids=str)
async def test_fields(fields: Json, expected: Json) -> None:
    """What OpenAI's fields become."""
    able = ["completion", "tools", "thinking"]
    async with asked(Script(["Hi."], capabilities=able)) as (s, client):
        extra = {"extra_body": fields}
        create = client.chat.completions.create
        await create(model="story", messages=user("Hi"), **extra)
        body = sent(s.ollama)
    assert {name: body.get(name) for name in expected} == expected
    if not expected:
        assert body.keys() == {"model", "messages", "stream"}


async def test_open_webui_as_it_asks() -> None:
    """Its way of asking: the models, then a chat with its own bookkeeping, usage and all."""
    body = {
        "stream": True,
        "model": "story:latest",
        "messages": [
            {"role": "system", "content": "Be short."},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}},
                    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
                ],
            },
        ],
        "temperature": 0.7,
        "top_p": 0.9,
        "min_p": 0.05,
        "max_tokens": 128,
        "frequency_penalty": 0.1,
        "presence_penalty": 0.0,
        "seed": 42,
        "stop": ["<end>"],
        "logit_bias": {},
        "reasoning": {"effort": "low"},
        "stream_options": {"include_usage": True},
        "tools": [WEATHER],
        # What its filters and pipes may leave in.
        "chat_id": "local:1",
        "id": "e6f0",
        "session_id": "s",
        "parent_id": None,
        "background_tasks": {"title_generation": True},
        "variables": {"{{USER_NAME}}": "A"},
        "model_item": {"id": "story:latest"},
        "user": {"name": "A", "id": "1", "email": "a@example.org", "role": "admin"},
        "tool_ids": [],
        "files": [],
        "features": {},
    }
    title = {
        "model": "story:latest",
        "messages": user("Make a title"),
        "stream": False,
        "max_completion_tokens": 1000,
        "metadata": {"task": "title_generation", "chat_id": "1"},
    }
    headers = {"Authorization": "Bearer sesame", "X-OpenWebUI-User-Name": "A"}
    able = ["completion", "tools", "thinking", "vision"]
    async with asked(Script(["Hi", "."], capabilities=able), token="sesame") as (s, _):
        async with s.http.get(f"{s.url}/v1/models", headers=headers) as response:
            listed = await response.json()
        address = f"{s.url}/v1/chat/completions"
        async with s.http.post(address, json=body, headers=headers) as response:
            assert response.content_type == "text/event-stream"
            events = EventDecoder().feed(await response.read())
        told = sent(s.ollama)
        async with s.http.post(address, json=title, headers=headers) as response:
            whole = await response.json()
    assert [model["id"] for model in listed["data"]] == ["story:latest"]
    chunks = [orjson.loads(event.data) for event in events[:-1]]
    assert "".join(c["choices"][0]["delta"].get("content", "") for c in chunks[:-1]) == "Hi."
    assert (events[-1].data, chunks[-1]["choices"]) == ("[DONE]", [])
    assert chunks[-1]["usage"]["completion_tokens"] > 0
    assert whole["choices"][0]["message"]["content"] == "Hi."
    assert told["options"] == {
        "temperature": 0.7,
        "top_p": 0.9,
        "min_p": 0.05,
        "num_predict": 128,
        "frequency_penalty": 0.1,
        "presence_penalty": 0.0,
        "seed": 42,
        "stop": ["<end>"],
    }
    assert (told["think"], told["messages"][1]["images"]) == ("low", [PNG])


async def test_images_and_roles() -> None:
    """A picture as a data URL; the developer speaks as the system."""
    content = [
        {"type": "text", "text": "What is it?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
    ]
    messages = [{"role": "developer", "content": "Be short."}, {"role": "user", "content": content}]
    script = Script(["A dot."], capabilities=("completion", "vision"))
    async with asked(script) as (s, client):
        create = client.chat.completions.create
        await create(model="story", messages=messages)
        told = sent(s.ollama)["messages"]
    assert told == [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": "What is it?", "images": [PNG]},
    ]


# What cannot be honoured, and the field that the message names.
REFUSED: list[tuple[Json, str]] = [
    ({"n": 2}, "n"),
    ({"tool_choice": "required", "tools": [WEATHER]}, "tool_choice"),
    (
        {"tool_choice": {"type": "function", "function": {"name": "get_weather"}}},
        "tool_choice",
    ),
    ({"logit_bias": {"50256": -100}}, "logit_bias"),
    ({"modalities": ["text", "audio"]}, "modalities"),
    ({"temperature": "hot"}, "temperature"),
    ({"reasoning_effort": "extreme"}, "reasoning_effort"),
    ({"response_format": {"type": "json_schema"}}, "response_format.json_schema.schema"),
    ({"tools": [{"type": "web_search"}]}, "tools.0"),
    ({"no_such_field": 1}, "no_such_field"),
    ({"parallel_tool_calls": False}, "parallel_tool_calls"),
    ({"audio": {"voice": "alloy"}}, "audio"),
    ({"web_search_options": {}}, "web_search_options"),
    ({"prediction": {"type": "content", "content": "x"}}, "prediction"),
    ({"store": True}, "store"),
    ({"functions": [{"name": "f"}]}, "functions"),
    ({"files": [{"id": "1"}]}, "files"),
    ({"tool_choice": "any"}, "tool_choice"),
    ({"max_tokens": "many"}, "max_tokens"),
    ({"max_completion_tokens": -1}, "max_completion_tokens"),
    ({"top_logprobs": 21, "logprobs": True}, "top_logprobs"),
    ({"seed": "x"}, "seed"),
    ({"stop": [1]}, "stop.0"),
    ({"stream_options": {"include_usage": "yes"}}, "stream_options.include_usage"),
    ({"response_format": {"type": "xml"}}, "response_format.type"),
    ({"messages": []}, "messages"),
    ({"messages": [{"role": "robot", "content": "Hi"}]}, "messages.0.role"),
    (
        {"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]},
        "messages.0.content.0.type",
    ),
    (
        {
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "image_url", "image_url": {"url": "http://x/y.png"}}],
                }
            ]
        },
        "messages.0.content.0.image_url.url",
    ),
    ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0.tool_call_id"),
]


@pytest.mark.parametrize(("fields", "named"), REFUSED, ids=lambda value: str(value)[:40])
async def test_what_cannot_be_honoured(fields: Json, named: str) -> None:
    """A 400 in OpenAI's form names the field, and Ollama is not asked."""
    async with asked(Script(["Hi."])) as (s, _):
        body = {"model": "story", "messages": user("Hi"), **fields}
        async with s.http.post(f"{s.url}/v1/chat/completions", json=body) as response:
            told = await response.json()
        assert s.ollama.chats == []
    assert response.status == 400
    assert told["error"]["message"].startswith(f"{named}: ")
    assert told["error"]["type"] == "invalid_request_error"
    assert told["error"].keys() == {"message", "type", "param", "code"}
    assert told["error"]["param"] == named


# A fault before the first token -> what the package raises.
EARLY: list[tuple[str, Fault | None, type[openai.APIStatusError]]] = [
    ("nope", None, openai.NotFoundError),
    ("story", Fault.status(400), openai.BadRequestError),
    ("story", Fault.status(503), openai.InternalServerError),
    ("story", Fault.status(500), openai.InternalServerError),
]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(("model", "fault", "raised"), EARLY, ids=str)
async def test_a_failure_before_the_first_token(
    model: str, fault: Fault | None, raised: type[openai.APIStatusError], stream: bool
) -> None:
    """It is a status, as with Ollama itself, also of a stream."""
    async with asked(Script(["Hi."], fault=fault)) as (_, client):
        create = client.chat.completions.create
        with pytest.raises(raised):
            await create(model=model, messages=user("Hi"), stream=stream)


LATE = [Fault.error(at_token=2), Fault.cut(at_token=2), Fault.reset(at_token=2)]


@pytest.mark.parametrize("fault", LATE, ids=str)
async def test_a_failure_in_the_middle(fault: Fault) -> None:
    """The package raises; no half answer passes for a whole one."""
    got: list[str] = []
    async with asked(Script(["One ", "two ", "three."], fault=fault)) as (s, client):
        create = client.chat.completions.create
        stream = await create(model="story", messages=user("Hi"), stream=True)
        with pytest.raises(openai.APIError) as caught:
            async for chunk in stream:
                got += [choice.delta.content for choice in chunk.choices]
        with pytest.raises(openai.InternalServerError):
            await create(model="story", messages=user("Hi"))
        body = {"model": "story", "messages": user("Hi"), "stream": True}
        async with s.http.post(f"{s.url}/v1/chat/completions", json=body) as response:
            raw = await response.read()
    assert got == ["One ", "two "]
    assert caught.value.message
    assert b"[DONE]" not in raw


async def test_a_client_that_leaves_stops_the_model() -> None:
    """Ollama's socket is closed: an OpenAI client cannot come back."""
    async with asked(Script(["One "] * 500, pace=Pace(tokens_per_second=100))) as (s, client):
        create = client.chat.completions.create
        stream = await create(model="story", messages=user("Hi"), stream=True)
        async for _ in stream:
            break
        await stream.close()
        chat = await s.ollama.wait_for_request()
        await asyncio.wait_for(chat.wait_ended(), 5)
        assert chat.ended is Ending.CLIENT_LEFT


async def test_a_stream_is_resumed_by_its_ids() -> None:
    """Cut after any frame, the rest is at the address in Content-Location: nothing twice."""
    async with asked(Script(["Blue", ", of ", "course."])) as (s, _):
        body = {
            "model": "story",
            "messages": user("Hi"),
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        headers = {"X-On-Disconnect": "grace"}
        address = f"{s.url}/v1/chat/completions"
        async with s.http.post(address, json=body, headers=headers) as response:
            whole = EventDecoder().feed(await response.read())
            there = response.url.join(type(response.url)(response.headers["Content-Location"]))
        for index, event in enumerate(whole):
            async with s.http.get(there, headers={"Last-Event-ID": event.id}) as rest:
                again = EventDecoder().feed(await rest.read())
            assert [e.data for e in again] == [e.data for e in whole[index + 1 :]]
    assert whole[-1].data == "[DONE]"
    assert ChatCompletionChunk.model_validate_json(whole[0].data).choices[0].delta.content


async def test_a_run_can_be_stopped_from_elsewhere() -> None:
    """Whoever reads it is told so: no [DONE], an error."""
    async with asked(Script(["One "] * 500, pace=Pace(tokens_per_second=100))) as (s, client):
        create = client.chat.completions.create
        stream = await create(model="story", messages=user("Hi"), stream=True)
        run_id = stream.response.headers["X-Run-Id"]
        await s.client.stop(run_id)
        with pytest.raises(openai.APIError, match="stopped"):
            async for _ in stream:
                pass


async def test_models() -> None:
    """The list, and one by its name, with or without its tag."""
    async with asked({"story": Script(["Hi."]), "other:7b": Script(["Ho."])}) as (_, client):
        listed = await client.models.list()
        assert {model.id for model in listed.data} == {"story:latest", "other:7b"}
        assert (await client.models.retrieve("story")).id == "story"
        with pytest.raises(openai.NotFoundError, match="nope"):
            await client.models.retrieve("nope")


async def test_the_servers_own_tools_are_not_offered() -> None:
    """Neither those of the page nor the server's functions: the client runs every tool itself."""

    def secret() -> str:
        """Tell a secret."""
        return "no"

    async with asked(Script(["Hi."]), functions=[secret]) as (s, client):
        create = client.chat.completions.create
        await create(model="story", messages=user("Change the colour to green"))
        assert sent(s.ollama).keys() == {"model", "messages", "stream"}


async def test_the_token() -> None:
    """It is the client's `api_key`; a wrong one is an authentication error."""
    async with asked(Script(["Hi."]), token="sesame") as (s, client):
        create = client.chat.completions.create
        assert (await create(model="story", messages=user("Hi"))).choices
        async with AsyncOpenAI(base_url=f"{s.url}/v1", api_key="x", max_retries=0) as stranger:
            with pytest.raises(openai.AuthenticationError):
                await stranger.models.list()


async def test_log_probabilities() -> None:
    """They keep Ollama's numbers, in OpenAI's place, streamed and whole."""
    async with asked(Script(["Hi", " you"])) as (_, client):
        create = client.chat.completions.create
        said = await create(model="story", messages=user("Hi"), logprobs=True, top_logprobs=1)
        stream = await create(
            model="story", messages=user("Hi"), logprobs=True, top_logprobs=1, stream=True
        )
        streamed = [
            entry.token
            async for chunk in stream
            if (logprobs := chunk.choices[0].logprobs)
            for entry in logprobs.content
        ]
    assert [entry.token for entry in said.choices[0].logprobs.content] == streamed == ["Hi", " you"]
