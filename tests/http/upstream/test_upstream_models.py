"""What Ollama's lists say, however odd they are; and what a silent chat is said to wait for."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from dripline import ChatClient, Status
from dripline_server.app import Server, serve
from dripline_server.settings import Settings
from dripline_server.upstream import known_models, model_memory, ollama
from dripline_server.upstream.model_names import canonical, is_remote
from dripline_server.upstream.ollama_lists import read_tags
from dripline_server.upstream.shared_answer import SharedAnswer
from tests.support.stack import user
from tests.support.tcp_server import TcpServer

DETAILS = {"format": "gguf", "family": "llama", "parameter_size": "8B", "quantization_level": "Q4"}
DONE = {"message": {"content": "Hi"}, "done": True, "done_reason": "stop"}

HUNG = object()
"""Stands for an answer that never comes."""


def listed(name: str, digest: str = "", **more: Any) -> dict[str, Any]:
    """An entry of `/api/tags`."""
    return {
        "name": name,
        "model": name,
        "modified_at": "2026-12-01T04:33:19.8220547Z",
        "size": 5,
        "digest": digest or f"sha-{name}",
        "details": DETAILS,
        **more,
    }


def loaded(
    name: str, digest: str = "", *, context: int = 4096, expires: str = ""
) -> dict[str, Any]:
    """An entry of `/api/ps`."""
    return {
        "name": name,
        "model": name,
        "size": 5,
        "digest": digest or f"sha-{name}",
        "details": DETAILS,
        "expires_at": expires or "2318-04-28T12:00:00.123456789+02:00",
        "size_vram": 5,
        "context_length": context,
    }


@dataclass
class OddOllama:
    """An Ollama over a raw socket whose lists are what a test says: JSON, or what makes it.

    A value that is callable is called for each request, `HUNG` is never answered, and bytes are the
    whole of an HTTP answer. `chat` is set once a chat may be answered.
    """

    tags: Any = None
    ps: Any = field(default_factory=lambda: {"models": []})
    show: Any = field(default_factory=lambda: {"capabilities": ["completion"]})
    version: Any = field(default_factory=lambda: {"version": "0.33.0"})
    chat: asyncio.Event = field(default_factory=asyncio.Event)
    asked: list[tuple[str, Any]] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        path = head.split(" ")[1]
        length = next(
            (int(line.split(":")[1]) for line in head.splitlines() if "Content-Length" in line), 0
        )
        body = orjson.loads(await reader.readexactly(length) or b"null")
        self.asked.append((path, body))
        said = await self._say(path, body)
        if said is HUNG:
            await reader.read()
            return
        if not isinstance(said, bytes):
            data = orjson.dumps(said)
            said = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(data), data)
        writer.write(said)

    async def _say(self, path: str, body: Any) -> Any:
        if path == "/api/chat":
            await self.chat.wait()
            if "tools" in body and self.refuses_tools:
                return refused(400, f'"{body["model"]}" does not support tools')
            return DONE
        said = getattr(self, path.rpartition("/")[2])
        if path == "/api/tags" and said is None:
            said = {"models": [listed("good:latest")]}
        return (said(body) if path == "/api/show" else said()) if callable(said) else said

    refuses_tools: bool = False


def json_of(data: bytes) -> bytes:
    """An HTTP answer of this JSON, as it is written."""
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(data), data)


def refused(status: int, error: str) -> bytes:
    """An HTTP answer that says what is wrong."""
    data = orjson.dumps({"error": error})
    return b"HTTP/1.1 %d No\r\nContent-Length: %d\r\n\r\n%b" % (status, len(data), data)


@asynccontextmanager
async def dripline(odd: OddOllama, **settings: Any) -> AsyncIterator[Server]:
    async with (
        TcpServer(odd.serve) as upstream,
        serve(Settings(port=0, ollama=upstream.url, model="good", **settings)) as server,
    ):
        yield server


async def models(odd: OddOllama) -> dict[str, dict[str, Any]]:
    """What `GET /models` lists, by name."""
    async with (
        dripline(odd) as server,
        ChatClient(server.url) as client,
        aiohttp.ClientSession() as http,
    ):
        async with http.get(f"{server.url}/models") as response:
            assert response.status == 200, await response.text()
            found = (await response.json())["models"]
        told = [(model.name, model.loaded) for model in await client.models()]
        assert told == [(one["name"], one["loaded"]) for one in found]
    return {one["name"]: one for one in found}


CLOUD = {
    "models": [listed("good:latest"), listed("glm-4.7:cloud", remote_host="https://ollama.com")]
}
ODD_LISTS: dict[str, tuple[dict[str, Any], set[str]]] = {
    "a cloud model without model_info": (
        {
            "tags": CLOUD,
            "show": lambda body: (
                {"capabilities": ["completion"]}
                if "cloud" in body["model"]
                else {"capabilities": ["completion"], "model_info": {}}
            ),
        },
        {"good:latest", "glm-4.7:cloud"},
    ),
    "a model that cannot be shown": (
        {
            "tags": CLOUD,
            "show": lambda body: refused(500, "no") if "cloud" in body["model"] else {},
        },
        {"good:latest", "glm-4.7:cloud"},
    ),
    "show is a text": ({"show": "x"}, {"good:latest"}),
    "show is a list": ({"show": [1]}, {"good:latest"}),
    "show is HTML": ({"show": b"HTTP/1.1 200 OK\r\n\r\n<html>"}, {"good:latest"}),
    "show is cut": ({"show": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"}, {"good:latest"}),
    "show hangs": ({"show": HUNG}, {"good:latest"}),
    "odd values in show": (
        {"show": {"capabilities": [1, None], "model_info": [], "modelfile": 7}},
        {"good:latest"},
    ),
    "ps hangs": ({"ps": HUNG}, {"good:latest"}),
    "ps is a text": ({"ps": "x"}, {"good:latest"}),
    "ps is null": ({"ps": None}, {"good:latest"}),
    "ps is a number": ({"ps": 5}, {"good:latest"}),
    "ps is 502": ({"ps": b"HTTP/1.1 502 Bad Gateway\r\n\r\n"}, {"good:latest"}),
    "ps lists odd things": (
        {"ps": {"models": [None, 1, {}, {"model": 5}, {"name": "x", "expires_at": 7}]}},
        {"good:latest"},
    ),
    "an entry is null": ({"tags": {"models": [None, listed("good:latest")]}}, {"good:latest"}),
    "an entry has no name": ({"tags": {"models": [{}, listed("good:latest")]}}, {"good:latest"}),
    "an entry is a text": ({"tags": {"models": ["x", listed("good:latest")]}}, {"good:latest"}),
    "an entry has odd values": (
        {
            "tags": {
                "models": [
                    {**listed("a", size=-1, details=None, modified_at="soon"), "digest": 5},
                    listed("b", size="big", details=[], modified_at=None, capabilities="x"),
                    listed("c", size=1e300, modified_at="9999-99-99"),
                    listed("good:latest"),
                ]
            }
        },
        {"a", "b", "c", "good:latest"},
    ),
    "half an emoji in an entry": (
        {"tags": json_of(rb'{"models":[{"name":"a","x":"\ud83d"},{"name":"good:latest"}]}')},
        {"a", "good:latest"},
    ),
    "half an emoji in show": (
        {"show": json_of(rb'{"capabilities":["tools"],"license":"\udc00"}')},
        {"good:latest"},
    ),
    "a name alone": ({"tags": {"models": [{"name": "good:latest"}]}}, {"good:latest"}),
    "no models": ({"tags": {"models": []}}, set()),
    "models are null": ({"tags": {"models": None}}, set()),
}


@pytest.mark.parametrize(("odd", "names"), ODD_LISTS.values(), ids=ODD_LISTS)
async def test_a_list_survives_what_is_odd_in_it(
    odd: Mapping[str, Any], names: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One entry, or what decorates the list, never takes the others with it."""
    monkeypatch.setattr(ollama, "DETAILS_TIME", 0.3)
    monkeypatch.setattr(model_memory, "PATIENCE", 0.2)
    found = await models(OddOllama(**odd))
    assert set(found) == names
    for model in found.values():
        assert model["size"] >= 0
        assert isinstance(model["capabilities"], list)


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ("x", "it sent no list of models"),
        ([], "it sent no list of models"),
        ({"models": "x"}, "it sent no list of models"),
        (b"HTTP/1.1 200 OK\r\n\r\n<html><title>Hello</title>", "it sent a web page ('Hello')"),
        (b"HTTP/1.1 200 OK\r\n\r\nfoo", "it sent no JSON"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"[" * 100_000, "it sent no JSON"),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", "Ollama failed (502): it gave no reason."),
        (refused(401, "unauthorized"), "OLLAMA_API_KEY"),
        (b"", "closed the connection"),
    ],
    ids=str,
)
async def test_a_list_that_is_none_is_told_with_a_reason(tags: Any, words: str) -> None:
    async with (
        dripline(OddOllama(tags=tags)) as server,
        aiohttp.ClientSession() as http,
        http.get(f"{server.url}/models") as response,
    ):
        assert response.status in (502, 503)
        assert words in (await response.json())["error"]["message"]


@pytest.mark.parametrize("path", ["models", "v1/models", "v1/models/good"])
async def test_an_ollama_that_is_away_is_503(path: str) -> None:
    """For every list, so that a load balancer or a client tries again."""
    async with (
        serve(Settings(port=0, ollama="http://127.0.0.1:1")) as server,
        aiohttp.ClientSession() as http,
        http.get(f"{server.url}/{path}") as response,
    ):
        assert response.status == 503
        assert (await response.json())["error"]["code"] == "ollama_unreachable"


async def test_whether_a_model_is_loaded_is_null_where_nobody_knows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(model_memory, "PATIENCE", 0.1)
    assert (await models(OddOllama(ps=HUNG)))["good:latest"]["loaded"] is None
    assert (await models(OddOllama()))["good:latest"]["loaded"] is False
    odd = OddOllama(ps={"models": [loaded("good:latest")]})
    assert (await models(odd))["good:latest"]["loaded"] is True


async def test_capabilities_come_from_the_list_where_it_has_them() -> None:
    """Ollama 0.33 tells them there: a list of a thousand models is one request."""
    entries = [listed(f"m{n}:latest", capabilities=["completion", "tools"]) for n in range(1000)]
    odd = OddOllama(tags={"models": entries}, ps={"models": [loaded("other:latest")]})
    odd.ps["models"][0]["details"] = {}
    found = await models(odd)
    assert all(model["capabilities"] == ["completion", "tools"] for model in found.values())
    assert [path for path, _ in odd.asked if path == "/api/show"] == []


def test_the_list_of_a_real_ollama() -> None:
    """Of 0.33.0."""
    tags = (
        '{"models":[{"name":"demo-thinking:latest","model":"demo-thinking:latest","modified_at":'
        '"2026-12-01T04:33:19.8220547Z","size":253113707,"digest":"ead69506","details":'
        '{"parent_model":"","format":"gguf","family":"gemma3","families":["gemma3"],'
        '"parameter_size":"268.10M","quantization_level":"Q4_K_M","context_length":32768,'
        '"embedding_length":640},"capabilities":["completion","thinking"]}]}'
    )
    [model] = read_tags(orjson.loads(tags))
    assert model.capabilities == ("completion", "thinking")
    assert model.family == "gemma3"
    assert datetime.fromtimestamp(model.created, UTC) == datetime(
        2026, 12, 1, 4, 33, 19, tzinfo=UTC
    )
    assert not model.remote


# --- Tools ---

OFFERED: dict[str, tuple[Any, bool]] = {
    "it can": ({"capabilities": ["completion", "tools"]}, True),
    "it cannot": ({"capabilities": ["completion"]}, False),
    "nobody says": ({"details": {}}, True),
    "there are none": ({"capabilities": []}, True),
    "show fails": (refused(500, "no"), True),
    "show is odd": ("x", True),
    "show hangs": (HUNG, True),
}


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module with a tool, by name."""
    (tmp_path / "tools_of_odd.py").write_text('def add(a: int) -> int:\n    """Add."""\n')
    monkeypatch.syspath_prepend(tmp_path)
    return "tools_of_odd"


@pytest.mark.parametrize(("show", "offered"), OFFERED.values(), ids=OFFERED)
async def test_tools_are_offered_where_nothing_speaks_against_it(
    show: Any,
    offered: bool,
    tools: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What is not known is no "no"; and where they are not offered, the log says why."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(known_models, "PATIENCE", 0.1)
    odd = OddOllama(show=show)
    odd.chat.set()
    async with dripline(odd, tools=tools) as server, ChatClient(server.url) as client:
        assert (await client.ask("Hi")).text == "Hi"
    [body] = [body for path, body in odd.asked if path == "/api/chat"]
    assert ("tools" in body) is offered
    assert ("good cannot call tools" in caplog.text) is not offered


async def test_tools_that_are_refused_are_not_offered_again(
    tools: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The chat is answered without, and the next one does not try."""
    caplog.set_level(logging.INFO)
    odd = OddOllama(show={}, refuses_tools=True)
    odd.chat.set()
    async with dripline(odd, tools=tools) as server, ChatClient(server.url) as client:
        assert (await client.ask("Hi")).text == "Hi"
        assert (await client.ask("Hi")).text == "Hi"
    bodies = [body for path, body in odd.asked if path == "/api/chat"]
    assert ["tools" in body for body in bodies] == [True, False, False]
    assert "good cannot call tools: Ollama refused" in caplog.text


# --- What a silent chat waits for ---


def entries(*models: dict[str, Any]) -> dict[str, Any]:
    return {"models": list(models)}


def in_turn(*answers: Any) -> Callable[[], Any]:
    """Give one answer after the other; the last one for ever."""
    left = list(answers)

    def give() -> Any:
        answer = left.pop(0) if len(left) > 1 else left[0]
        return answer() if callable(answer) else answer

    give.last = answers[-1]  # type: ignore[attr-defined]
    return give


def moving(*models: str) -> Callable[[], Any]:
    """List models whose expiry moves on with the clock, as 0.25 does until they have answered."""

    def list_them() -> Any:
        expires = (datetime.now(UTC) + timedelta(minutes=5)).isoformat()
        return entries(*(loaded(name, expires=expires) for name in models))

    return list_them


SAME_BLOB = {"modelfile": "# FROM x\n\nFROM /blobs/sha256-1\nTEMPLATE x\nFROM /blobs/other\n"}
OTHER_BLOB = {"modelfile": "FROM /blobs/sha256-2\n"}
LONG_CONTEXT = {"model_info": {"llama.context_length": 4096}}
GOOD = entries(loaded("good:latest"))

PHASES: dict[str, tuple[dict[str, Any], dict[str, Any], list[str]]] = {
    # What the lists say, what the request says, and what is told.
    "not in memory": ({}, {}, ["loading"]),
    "in memory": ({"ps": GOOD}, {}, ["waiting"]),
    "in memory, by its short name": ({"ps": entries(loaded("good"))}, {}, ["waiting"]),
    "in memory, asked for in capitals": ({"ps": GOOD}, {"model": "GOOD"}, ["waiting"]),
    "in memory, by its full name": ({"ps": GOOD}, {"model": "library/good"}, ["waiting"]),
    "in memory, with the registry's name": (
        {"ps": GOOD},
        {"model": "registry.ollama.ai/library/good:latest"},
        ["waiting"],
    ),
    "a copy, by its digest": (
        {
            "tags": entries(listed("good:latest", "same"), listed("copy:latest", "same")),
            "ps": entries(loaded("copy:latest", "same")),
        },
        {},
        ["waiting"],
    ),
    "of the same blob": (
        {
            "tags": entries(listed("good:latest"), listed("derived:latest")),
            "ps": entries(loaded("derived:latest")),
            "show": SAME_BLOB,
        },
        {},
        ["waiting"],
    ),
    "of another blob": (
        {
            "tags": entries(listed("good:latest"), listed("derived:latest")),
            "ps": entries(loaded("derived:latest")),
            "show": lambda body: SAME_BLOB if "good" in body["model"] else OTHER_BLOB,
        },
        {},
        ["loading"],
    ),
    "another num_ctx": ({"ps": GOOD}, {"options": {"num_ctx": 8192}}, ["loading"]),
    "the same num_ctx": ({"ps": GOOD}, {"options": {"num_ctx": 4096}}, ["waiting"]),
    "more than the model can see": (
        {"ps": GOOD, "show": LONG_CONTEXT},
        {"options": {"num_ctx": 100_000}},
        ["waiting"],
    ),
    "a context that is not said": (
        {"ps": entries({"model": "good:latest"})},
        {"options": {"num_ctx": 8192}},
        ["waiting"],
    ),
    "its runner crashed": ({"ps": in_turn(GOOD, entries())}, {}, ["loading"]),
    "it arrives while it is waited for": (
        {"ps": in_turn(entries(), entries(), GOOD)},
        {},
        ["loading", "waiting"],
    ),
    "it arrives, and its expiry moves": (
        {"ps": in_turn(entries(), entries(), moving("good:latest"))},
        {},
        ["loading", "waiting"],
    ),
    "0.25 lists it as it loads": (
        {"ps": in_turn(entries(), moving("good:latest")), "version": {"version": "0.25.0"}},
        {},
        ["loading"],
    ),
    "0.25 listed it as it loaded, and it has answered somebody": (
        {"ps": in_turn(entries(), GOOD), "version": {"version": "0.25.0"}},
        {},
        ["loading", "waiting"],
    ),
    "0.25 has listed it already": (
        {"ps": moving("good:latest"), "version": {"version": "0.25.0"}},
        {},
        ["loading"],
    ),
    "0.25, busy with another answer": (
        {"ps": GOOD, "version": {"version": "0.25.0"}},
        {},
        ["waiting"],
    ),
    "0.33 lists only what is loaded": ({"ps": in_turn(entries(), GOOD)}, {}, ["waiting"]),
    "0.33, busy with a first answer": ({"ps": moving("good:latest")}, {}, ["waiting"]),
    "nobody can know": ({"ps": HUNG}, {}, ["waiting"]),
    "ps is odd": ({"ps": "x"}, {}, ["waiting"]),
    "ps fails": ({"ps": b"HTTP/1.1 500 No\r\n\r\n"}, {}, ["waiting"]),
    "it was not there, and now nobody knows": ({"ps": in_turn(entries(), HUNG)}, {}, ["loading"]),
    "a cloud model": ({}, {"model": "glm-4.7:cloud"}, ["waiting"]),
    "a cloud model by what it shows": (
        {"show": {"remote_host": "https://ollama.com"}},
        {},
        ["waiting"],
    ),
    "no version": (
        {"ps": in_turn(entries(), moving("good:latest")), "version": "x"},
        {},
        ["loading"],
    ),
}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have looks follow each other at once, and be patient for a short time."""
    for name, value in {
        "PATIENCE": 0.2,
        "PS_FRESH": 0.0,
        "FIRST_PAUSE": 0.1,
        "LAST_PAUSE": 0.1,
    }.items():
        monkeypatch.setattr(model_memory, name, value)


def is_hung(lists: Mapping[str, Any]) -> bool:
    """Whether there will be no further look."""
    return "ps" in lists and HUNG in (lists["ps"], getattr(lists["ps"], "last", None))


@pytest.mark.parametrize(("lists", "request_", "expected"), PHASES.values(), ids=PHASES)
@pytest.mark.usefixtures("quick")
async def test_a_silent_chat_says_what_it_waits_for(
    lists: dict[str, Any], request_: dict[str, Any], expected: list[str]
) -> None:
    """Loading where it is known to load, and waiting where it is not; each once."""
    odd = OddOllama(**lists)
    body = {"messages": user("Hi"), **request_}
    async with (
        dripline(odd, loading_after=0.15) as server,
        aiohttp.ClientSession() as http,
        http.post(f"{server.url}/chat", json=body) as response,
    ):
        looks = 0
        while looks < len(expected) + 4:  # so that a further phase would have been said
            await asyncio.sleep(0.05)
            looks = sum(path == "/api/ps" for path, _ in odd.asked)
            if looks and is_hung(lists):
                await asyncio.sleep(1)
                break
        odd.chat.set()
        told = (await response.text()).split("\n\n")
    events = [orjson.loads(one.partition("data: ")[2]) for one in told if "data: " in one]
    phases = [event["data"]["phase"] for event in events if event["type"] == "status"]
    assert phases == expected
    assert events[-1]["data"]["status"] == "completed"


@pytest.mark.usefixtures("quick")
async def test_what_has_answered_is_in_memory() -> None:
    """Though an old Ollama lists it as if it loaded: another chat's answer has been seen."""
    odd = OddOllama(ps=moving("good:latest"), version={"version": "0.25.0"})
    async with dripline(odd, loading_after=0.1) as server, ChatClient(server.url) as client:
        odd.chat.set()
        await client.ask("Hi")
        odd.chat.clear()
        async with client.chat("Hi") as stream:
            async for event in stream:
                if isinstance(event, Status):
                    assert event == Status("waiting", "good")
                    odd.chat.set()


async def test_a_question_that_fails_when_nobody_waits_disturbs_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nothing is logged of it: the chats that asked have had their answers."""

    async def fail() -> str:
        raise OSError

    shared = SharedAnswer(fail, fresh=0.0)
    for _ in range(3):  # each is forgotten with the next
        asked = shared.begin()
        await asyncio.wait({asked})
    assert await shared.within(1) is None
    del asked
    await shared.close()
    del shared
    gc.collect()
    assert "never retrieved" not in caplog.text


async def test_many_silent_chats_ask_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one hears of Ollama's lists is for all who ask at about the same time."""
    odd = OddOllama()
    async with dripline(odd, loading_after=0.3) as server, aiohttp.ClientSession() as http:
        started = [
            http.post(f"{server.url}/chat", json={"messages": user("Hi")}) for _ in range(50)
        ]
        responses = await asyncio.gather(*started)
        for response in responses:
            while b"loading" not in await response.content.readany():
                pass
        odd.chat.set()
        await asyncio.gather(*(response.read() for response in responses))
    assert sum(path == "/api/ps" for path, _ in odd.asked) < 10


def test_names_of_one_model() -> None:
    """As Ollama reads them."""
    names = [
        "demo",
        "DEMO",
        "demo:latest",
        "library/demo",
        "registry.ollama.ai/library/Demo:LATEST",
    ]
    assert {canonical(name) for name in names} == {"demo:latest"}
    others = ["demo:1b", "me/demo", "hf.co/library/demo", "demo2"]
    assert len({canonical(name) for name in others} | {"demo:latest"}) == 5
    assert [
        name for name in ("a:cloud", "a:120b-cloud", "cloud", "a-cloud") if is_remote(name)
    ] == [
        "a:cloud",
        "a:120b-cloud",
    ]
