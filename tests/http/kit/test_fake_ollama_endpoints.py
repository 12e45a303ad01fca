"""One script through every endpoint; faults at each; models pulled, pushed, made and embedded."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import aiohttp
import ollama
import openai
import pytest

from dripline.testing import (
    Call,
    Ending,
    FakeOllama,
    Fault,
    ModelDetails,
    Pace,
    ReceivedChat,
    Reply,
    Script,
    VirtualClock,
    when,
)
from tests.support.raw_http import RawResponse, raw_exchange

HI = [{"role": "user", "content": "Hi"}]
TOOL = {"name": "look", "description": "Looks", "parameters": {"type": "object"}}
ASKED: dict[str, dict[str, Any]] = {
    "/api/chat": {"messages": HI, "tools": [{"type": "function", "function": TOOL}]},
    "/api/generate": {"prompt": "Hi"},
    "/v1/chat/completions": {
        "messages": HI,
        "tools": [{"type": "function", "function": TOOL}],
        "stream": True,
    },
    "/v1/completions": {"prompt": "Hi", "stream": True},
    "/v1/responses": {
        "input": "Hi",
        "tools": [{"type": "function", **TOOL}],
        "stream": True,
    },
    "/v1/messages": {
        "messages": HI,
        "max_tokens": 100,
        "tools": [{"name": "look", "input_schema": {"type": "object"}}],
        "stream": True,
    },
}
WITHOUT_TOOLS = ("/api/generate", "/v1/completions")


async def ask(ollama: FakeOllama, path: str, **fields: object) -> RawResponse:
    body = {"model": "story", **ASKED[path], **fields}
    return await raw_exchange(ollama.url, "POST", path, body)


@pytest.mark.parametrize("path", ASKED)
async def test_a_script_speaks_at_every_endpoint(path: str) -> None:
    """Its tokens come one by one, at its pace, and its calls where tools are on offer."""
    pace = Pace(first_token=1, tokens_per_second=1)
    reply = Reply(["Once", " upon"], thinking=["Hm"], tool_calls=[Call("look", {"at": 1})])
    clock = VirtualClock()
    async with FakeOllama({"story": Script(reply, pace)}, clock=clock) as fake:
        streamed = await ask(fake, path)
        whole = await ask(fake, path, stream=False)
        text = streamed.body.decode()
        said = [text.find(part) for part in ('"Hm"', '"Once"', '" upon"') if part in text]
        assert said == sorted(said)
        assert len(said) == (2 if path == "/v1/completions" else 3)
        assert (r"at" in text and "look" in text) is (path not in WITHOUT_TOOLS)
        assert "Once upon" in whole.body.decode() or path == "/v1/responses"  # calls alone there
        steps = 3 if path in WITHOUT_TOOLS else 4
        assert clock.now == pytest.approx(2 * (steps + 1))
        assert [chat.ended for chat in fake.chats] == [Ending.FINISHED] * 2
        assert [chat.tokens_sent for chat in fake.chats] == [steps] * 2
        assert fake.chats[0].chat
        assert (fake.chats[0].chat.path, fake.chats[0].chat.question) == (path, "Hi")


@pytest.mark.parametrize("path", ASKED)
async def test_a_fault_strikes_at_every_endpoint(path: str) -> None:
    """A cut after a token, a status in the endpoint's own words, and one of the endpoint's own."""
    cut = Script(["Once", " upon", " a"], fault=Fault.cut(at_token=2, times=1), capabilities=ALL)
    async with FakeOllama({"story": cut}) as fake:
        response = await ask(fake, path)
        assert (response.status, response.end) == (200, "FIN")
        assert b" upon" in response.body
        assert b'" a"' not in response.body
        fake.faults[path] = Fault.status(429, "slow down", headers={"Retry-After": "1"})
        refused = await ask(fake, path)
        assert (refused.status, refused.headers["retry-after"]) == (429, "1")
        error = json.loads(refused.body)["error"]
        assert (error if isinstance(error, str) else error["message"]) == "slow down"
        assert [chat.fault is None for chat in fake.chats] == [False, False]


ALL = ["completion", "tools"]


@pytest.mark.parametrize("path", ["/api/tags", "/api/version", "/v1/models", "/api/ps"])
async def test_a_fault_strikes_where_no_model_answers(path: str) -> None:
    """By its path, at a byte, as often as it is told to."""
    faults = {path: Fault.cut(at_byte=5, times=1)}
    async with FakeOllama({"story": Script()}, faults=faults) as fake:
        cut = await raw_exchange(fake.url, "GET", path)
        whole = await raw_exchange(fake.url, "GET", path)
        fake.faults[path] = Fault.status(503)
        refused = await raw_exchange(fake.url, "GET", path)
        assert cut.end == "FIN"
        assert (whole.status, refused.status) == (200, 503)
        assert [request.ended for request in fake.requests] == [
            *(Ending.FAULTED, Ending.FINISHED, Ending.FAULTED),
        ]


@pytest.mark.parametrize("fault", [Fault.cut, Fault.reset, Fault.truncated])
async def test_a_fault_at_a_byte_strikes_within_a_line(fault: Any) -> None:
    """So many bytes of the body come, and no more."""
    async with FakeOllama({"story": Script(["Once", " upon"], fault=fault(at_byte=50))}) as fake:
        response = await ask(fake, "/api/generate")
    assert len(response.body) == 50
    assert response.end == {"cut": "FIN", "reset": "RST", "truncated": "complete"}[fault.__name__]


async def test_a_fault_by_chance_is_drawn_from_its_seed() -> None:
    """The same seed strikes the same answers, and about as many as it is likely to."""
    statuses = []
    for _ in range(2):
        script = Script(fault=Fault.status(503, chance=0.5, seed=4))
        async with FakeOllama({"story": script}) as fake:
            statuses.append([(await ask(fake, "/api/generate")).status for _ in range(20)])
    assert statuses[0] == statuses[1]
    assert 3 < statuses[0].count(503) < 17


@pytest.mark.parametrize(
    ("before", "token", "times"),
    [(["{"], " \n", 31), ([], "\n", 30), ([], "a", 31), (["a", " a"], "a", 29), (["\n"], "\t", 29)],
)
async def test_a_loop_ends_without_done(before: list[str], token: str, times: int) -> None:
    """Ollama gives up a model that repeats a token 31 times, blanks aside; the body ends well."""
    script = Script(before, fault=Fault.loop(token, at_token=len(before)))
    async with FakeOllama({"story": script}) as fake:
        response = await ask(fake, "/api/chat", tools=None)
    contents = [json.loads(line)["message"]["content"] for line in response.lines]
    assert (response.end, contents) == ("complete", [*before, *[token] * times])
    assert not any(json.loads(line)["done"] for line in response.lines)


@pytest.mark.parametrize(
    ("tokens", "stop", "said"),
    [
        (["Say", " hi"], ["a"], ["S"]),
        (["Why", " is", " blue", " x"], ["blue"], ["Why", " is", " "]),
        (["a", "b", "c", "d"], ["bcx"], ["a", "bcd"]),
        (["Name", " it"], ["Name"], []),
        (["a", "b"], [""], ["a", "b"]),
    ],
)
async def test_stop_sequences_are_obeyed(
    tokens: list[str], stop: list[str], said: list[str]
) -> None:
    """The text before one comes, what may be the start of one is held back."""
    async with FakeOllama({"story": Script(tokens)}) as fake:
        response = await ask(fake, "/api/generate", options={"stop": stop})
    *chunks, last = map(json.loads, response.lines)
    assert [chunk["response"] for chunk in chunks] == said
    assert last["done_reason"] == "stop"


async def test_tokens_of_a_call_have_logprobs() -> None:
    """While Ollama parses a call, chunks with empty content tell how likely its tokens were."""
    script = Script(Reply(tool_calls=[Call("look", {"at": 1})]))
    async with FakeOllama({"story": script}) as fake:
        response = await ask(fake, "/api/chat", logprobs=True)
    *buffered, call, _ = map(json.loads, response.lines)
    assert len(buffered) > 3
    assert {chunk["message"]["content"] for chunk in buffered} == {""}
    text = "".join(p["token"] for c in (*buffered, call) for p in c["logprobs"])
    assert json.loads(text) == {"name": "look", "arguments": {"at": 1}}


async def test_a_prompt_is_cut_to_the_context_or_refused() -> None:
    """The oldest messages go, the system's stay; with `truncate: false` it is an error."""
    seen: list[ReceivedChat] = []

    def reply(request: ReceivedChat) -> str:
        seen.append(request)
        return "Yes"

    long = [{"role": "system", "content": "Be brief"}]
    long += [{"role": "user", "content": f"word {number} " * 20} for number in range(9)]
    small = {"messages": long, "tools": None, "options": {"num_ctx": 100}}
    async with FakeOllama({"story": Script(reply)}) as fake:
        last = json.loads((await ask(fake, "/api/chat", **small)).lines[-1])
        refused = await ask(fake, "/api/chat", **small, truncate=False)
        shown = json.loads((await raw_exchange(fake.url, "GET", "/api/ps")).body)["models"]
    assert last["prompt_eval_count"] <= 100
    roles = [message.role for message in seen[0].messages]
    assert (roles[0], set(roles[1:])) == ("system", {"user"})
    assert 1 < len(roles) < len(long)
    assert seen[0].question == long[-1]["content"]
    assert refused.status == 400
    assert "exceed_context_size_error" in json.loads(refused.body)["error"]
    assert [model["context_length"] for model in shown] == [100]


async def test_scripts_answer_by_request() -> None:
    """`when` takes a text, a pattern, or a function; without a case that fits it says so."""
    script = Script(
        when(
            ("weather", "It rains."),
            (re.compile(r"sk(y|ies)"), "Blue."),
            (lambda request: request.path == "/api/generate", lambda request: request.question),
        )
    )
    async with FakeOllama({"story": script}) as fake, ollama.AsyncClient(fake.url) as client:
        said = [
            (await client.chat("story", [{"role": "user", "content": text}])).message.content
            for text in ("The WEATHER?", "The skies?")
        ]
        echoed = (await client.generate("story", "Echo")).response
        with pytest.raises(ollama.ResponseError, match="no case of `when` fits 'Else'"):
            await client.chat("story", [{"role": "user", "content": "Else"}])
    assert (said, echoed) == (["It rains.", "Blue."], "Echo")


async def test_embeddings_are_stable_and_of_unit_length() -> None:
    """The same text has the same vector, through each endpoint; like texts are near."""
    details = ModelDetails(embedding_length=64)
    models = {"vectors": Script(capabilities=["embedding"], details=details)}
    async with FakeOllama(models) as fake, ollama.AsyncClient(fake.url) as client:
        answer = await client.embed("vectors", ["a red fox", "a red cat", "prime numbers"])
        fox, cat, numbers = answer.embeddings
        old = (await client.embeddings("vectors", "a red fox")).embedding
        few = (await client.embed("vectors", "a red fox", dimensions=8)).embeddings[0]
        with pytest.raises(ollama.ResponseError, match="exceeds the context length"):
            await client.embed("vectors", "word " * 9000, truncate=False)
        async with openai.AsyncOpenAI(base_url=f"{fake.url}/v1", api_key="x") as other:
            listed = await other.embeddings.create(model="vectors", input="a red fox")
    assert list(old) == pytest.approx(list(fox))
    assert listed.data[0].embedding == pytest.approx(list(fox))
    assert sum(x * x for x in fox) == pytest.approx(1)
    assert len(few) == 8
    assert sum(x * x for x in few) == pytest.approx(1)
    assert dot(fox, cat) > dot(fox, numbers) + 0.2


def dot(one: Any, other: Any) -> float:
    return float(sum(x * y for x, y in zip(one, other, strict=True)))


async def test_models_are_pulled_made_copied_and_deleted() -> None:
    """Lines of progress have digests and sizes; the newest comes first; blobs are shared."""
    registry = {"new": Script("New", details=ModelDetails(size=50_000_000))}
    async with (
        FakeOllama({"story": Script("Old")}, registry=registry) as fake,
        ollama.AsyncClient(fake.url) as client,
    ):
        lines = [line async for line in await client.pull("new", stream=True)]
        assert [lines[0].status, lines[-1].status] == ["pulling manifest", "success"]
        sizes = [line.completed or 0 for line in lines if line.total == 50_000_000]
        assert (len(sizes), sizes) == (11, sorted(sizes))
        assert (await client.chat("new", HI)).message.content == "New"
        await client.create("brief", from_="new", system="Be brief", parameters={"stop": ["w"]})
        await client.copy("brief", "short")
        names = [model.model for model in (await client.list()).models]
        assert names == ["short:latest", "brief:latest", "new:latest", "story:latest"]
        assert (await client.chat("short", HI)).message.content == "Ne"  # up to its stop sequence
        assert [model.model for model in (await client.ps()).models] == ["new:latest"]
        assert (await client.show("short")).model_dump()["parameters"].split() == ["stop", '"w"']
        await client.delete("brief")
        await client.push("short")
        assert sorted(fake.registry or ()) == ["new", "short:latest"]
        with pytest.raises(ollama.ResponseError, match="file does not exist"):
            await client.pull("nothing")
        fake.faults["/api/pull"] = Fault.error("disk full", at_token=3)
        with pytest.raises(ollama.ResponseError, match="disk full"):
            [line async for line in await client.pull("new", stream=True)]


async def test_an_older_version_is_played() -> None:
    """What 0.25 does otherwise: the list, pictures for the blind, long prompts, chunks."""
    picture = [{"role": "user", "content": "Look", "images": ["iVBORw0KGgo="]}]
    async with FakeOllama({"story": Script("Hi")}, version="0.25.0") as fake:
        version = await raw_exchange(fake.url, "GET", "/api/version")
        tags = json.loads((await raw_exchange(fake.url, "GET", "/api/tags")).body)
        blind = await ask(fake, "/api/chat", messages=picture, tools=None)
        long = await ask(fake, "/api/chat", tools=None, truncate=False, options={"num_ctx": 2})
        stream = await ask(fake, "/v1/chat/completions", tools=None)
        embed = await raw_exchange(fake.url, "POST", "/api/embed", {"model": "story", "input": "x"})
    assert json.loads(version.body) == {"version": "0.25.0"}
    assert "capabilities" not in tags["models"][0]
    assert (blind.status, long.status, embed.status) == (500, 400, 501)
    assert json.loads(long.body)["error"] == "the input length exceeds the context length"
    assert stream.body.count(b'"role":"assistant"') == 2
    with pytest.raises(ValueError, match="version must be one of Ollama's"):
        FakeOllama(version="new")


async def test_pages_elsewhere_are_refused_unless_they_are_named() -> None:
    """`origins` adds to those of this machine, as OLLAMA_ORIGINS does."""
    async with (
        FakeOllama({}, origins=["https://app.example"]) as fake,
        aiohttp.ClientSession() as http,
    ):
        found = {}
        for origin in ("https://app.example", "http://localhost:5173", "https://evil.example"):
            async with http.get(f"{fake.url}/api/tags", headers={"Origin": origin}) as response:
                allowed = response.headers.get("Access-Control-Allow-Origin")
                found[origin] = (response.status, allowed)
    assert found == {
        "https://app.example": (200, "https://app.example"),
        "http://localhost:5173": (200, "http://localhost:5173"),
        "https://evil.example": (403, None),
    }
    with pytest.raises(ValueError, match="needs a scheme"):
        FakeOllama({}, origins=["app.example"])


async def test_another_context_loads_the_model_anew() -> None:
    """When those who use it have gone; without a wish it stays as it is."""
    clock = VirtualClock()
    async with FakeOllama({"story": Script(pace=Pace(cold_load=10))}, clock=clock) as fake:
        for options in ({"num_ctx": 100}, {"num_ctx": 200}, {}, {"num_ctx": 200}):
            await ask(fake, "/api/generate", options=options)
    assert clock.now == 20


async def test_requests_to_any_endpoint_can_be_waited_for() -> None:
    """`wait_for_request` takes the next for an answer, or those to one path."""
    async with FakeOllama({"story": Script()}) as fake:
        waiting = asyncio.create_task(fake.wait_for_request())
        await raw_exchange(fake.url, "GET", "/api/tags")
        await ask(fake, "/v1/messages")
        assert (await waiting).path == "/v1/messages"
        assert (await fake.wait_for_request(path="/api/tags")).verdict.startswith("read to the end")
