"""Named tokens on a running server: what each may do, and whose a run is."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from dripline import ChatClient, RequestRefused, RunFailed
from dripline.testing import Ending, FakeOllama, Fault, Script
from dripline_server import create_app, token_file
from dripline_server.agents import Chat
from dripline_server.app import serve
from dripline_server.callers import Caller
from dripline_server.settings import BadSetting, Settings
from tests.support.processes import command, line
from tests.support.raw_http import raw_request
from tests.support.redis_server import RedisServer, redis_server
from tests.support.stack import Stack, stack, user

MAIN = "correct-horse-battery-staple"
NAME = "named-by-the-client-itself"
STALLS = Script(["One", " two"], fault=Fault.stall(at_token=1))
SHORT = Script(["Blue", "."])
UI_MESSAGE = {"id": "1", "role": "user", "parts": [{"type": "text", "text": "Hi"}]}
AGUI_MESSAGE = {"id": "1", "role": "user", "content": "Hi"}
ON = {"X-On-Disconnect": "continue"}

# How each dialect starts a run, and how a reader of one attaches to it in that dialect.
Json = dict[str, Any]
DIALECTS: dict[str, tuple[str, Json, str]] = {
    "native": ("/chat", {"messages": user("Hi"), "on_disconnect": "continue"}, ""),
    "agui": (
        "/agui",
        {"threadId": "t", "runId": "r", "messages": [AGUI_MESSAGE]},
        "?dialect=agui&threadId=t&runId=r",
    ),
    "ui-message": (
        "/ai-sdk/chat",
        {"id": "chat", "messages": [UI_MESSAGE], "on_disconnect": "continue"},
        "?dialect=ui-message&messageId=m",
    ),
    "openai": (
        "/v1/chat/completions",
        {"messages": user("Hi"), "stream": True},
        "?dialect=openai&model=story&created=1",
    ),
}


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer: its status, its body as JSON where it is JSON, and its headers."""

    status: int
    body: Json
    headers: Any

    @property
    def error(self) -> Json:
        return dict(self.body.get("error", {}))


@dataclass(frozen=True, slots=True)
class Guarded:
    """A server with a file of tokens; `tokens` has one for each name, and "" is DRIPLINE_TOKEN."""

    stack: Stack
    file: Path
    tokens: dict[str, str]

    def bearer(self, name: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.tokens[name]}"}

    def add(self, caller: Caller) -> None:
        self.tokens[caller.name] = token_file.add(self.file, caller)

    async def ask(
        self,
        name: str,
        method: str,
        path: str,
        body: Json | None = None,
        *,
        url: str = "",
        **headers: str,
    ) -> Answered:
        """Ask, of another server where one is named, and read the whole answer."""
        async with self.stack.http.request(
            method,
            (url or self.stack.url) + path,
            json=body,
            headers={**self.bearer(name), **headers},
        ) as response:
            text = await response.read()
            is_json = response.content_type == "application/json" and text
            return Answered(
                response.status, await response.json() if is_json else {}, response.headers
            )

    async def start(self, name: str, dialect: str = "native", **fields: Any) -> str:
        """Start a run that stalls, and return its id; its reader stays until the stack ends."""
        path, body, _ = DIALECTS[dialect]
        response = await self.stack.http.post(
            self.stack.url + path, json={**body, **fields}, headers={**self.bearer(name), **ON}
        )
        self.stack.closing.callback(response.close)
        assert response.status == 200, await response.text()
        return response.headers["X-Run-Id"]

    async def until(self, name: str, status: int) -> None:
        """Wait until a caller's requests are answered so."""
        while (await self.ask(name, "GET", "/models")).status != status:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


@asynccontextmanager
async def guarded(
    file: Path, script: Script = STALLS, callers: tuple[Caller, ...] = (), **settings: Any
) -> AsyncIterator[Guarded]:
    """A server for alice, bob and DRIPLINE_TOKEN, unless other callers are named."""
    named = callers or (Caller("alice"), Caller("bob"))
    tokens = {caller.name: token_file.add(file, caller) for caller in named}
    async with stack(script, tokens=str(file), token=MAIN, **settings) as s:
        yield Guarded(s, file, {"": MAIN, **tokens})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "tokens.toml"


def replace_token(file: Path, old: str, new: str) -> None:
    """Put a new token's hash into the file, as an admin would."""
    hashes = token_file.hash_of(old.encode()), token_file.hash_of(new.encode())
    file.write_text(file.read_text().replace(*hashes))


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.mark.parametrize("run_log", ["memory", "redis"])
async def test_another_s_run_is_not_there(file: Path, redis: RedisServer, run_log: str) -> None:
    """Whatever started it and whatever asks, also at another server: as if it had never been."""
    where = redis.url if run_log == "redis" else run_log
    async with AsyncExitStack() as closing:
        g = await closing.enter_async_context(guarded(file, run_log=where))
        urls = [g.stack.url]
        if run_log == "redis":
            twin = await closing.enter_async_context(serve(g.stack.server.state.settings))
            urls.append(twin.url)
        for started in DIALECTS:
            run_id = await g.start("alice", started)
            for url in urls:
                paths = [
                    ("GET", ""),
                    ("HEAD", ""),
                    ("DELETE", ""),
                    *(("GET", f"/events{query}") for _, _, query in DIALECTS.values()),
                ]
                for method, path in paths:
                    for name in ("bob", ""):
                        theirs = await g.ask(name, method, f"/runs/{run_id}{path}", url=url)
                        unknown = await g.ask(name, method, f"/runs/{'x' * 22}{path}", url=url)
                        assert theirs.status == unknown.status == 404, (started, method, path)
                        assert theirs.body == unknown.body
                for name in ("bob", ""):
                    for method in ("GET", "DELETE"):
                        # As for every chat without an answer.
                        theirs = await g.ask(name, method, "/ai-sdk/chat/chat/stream", url=url)
                        assert theirs.status == 204
                state = await g.ask("alice", "GET", f"/runs/{run_id}", url=url)
                assert state.body["status"] == "running", started
        for url in urls:
            assert (await g.ask("alice", "DELETE", f"/runs/{run_id}", url=url)).status in (202, 204)


async def test_runs_are_listed_for_their_owner(file: Path) -> None:
    """Each caller sees the ids of its own runs, and of no other's."""
    async with guarded(file) as g:
        started = {name: [await g.start(name)] for name in ("alice", "bob", "")}
        for name, run_ids in started.items():
            listed = (await g.ask(name, "GET", "/runs")).body["runs"]
            assert [run["run_id"] for run in listed] == run_ids


@pytest.mark.parametrize("run_log", ["memory", "redis"])
async def test_another_s_run_id(file: Path, redis: RedisServer, run_log: str) -> None:
    """It leads to nothing: no attaching, no second run; and its owner still gets the same run."""
    where = redis.url if run_log == "redis" else run_log
    async with AsyncExitStack() as closing:
        g = await closing.enter_async_context(guarded(file, SHORT, run_log=where))
        urls = [g.stack.url]
        if run_log == "redis":
            twin = await closing.enter_async_context(serve(g.stack.server.state.settings))
            urls.append(twin.url)
        body: Json = {"messages": user("Hi"), "run_id": f"{NAME}-{run_log}"}
        first = await g.ask("alice", "POST", "/chat", body)
        assert first.status == 200
        for url in urls:
            for other in (body, {**body, "messages": user("Something else")}):
                for name in ("bob", ""):
                    for stream in (True, False):
                        asked = {**other, "stream": stream}
                        refused = await g.ask(name, "POST", "/chat", asked, url=url)
                        assert refused.status == 404
                        assert refused.error["code"] == "not_found"
                        assert refused.error["message"].startswith("run_id: ")
            assert (await g.ask("alice", "POST", "/chat", body, url=url)).status == 200
        assert len(g.stack.ollama.chats) == 1


async def test_two_who_choose_one_id_at_the_same_time(file: Path, redis: RedisServer) -> None:
    """One gets the run, at whatever server; the others get nothing of it."""
    async with (
        guarded(file, SHORT, run_log=redis.url) as g,
        serve(g.stack.server.state.settings) as twin,
    ):
        for nth in range(5):
            body: Json = {"messages": user("Hi"), "run_id": f"{NAME}-{nth}"}
            asked = [(name, url) for name in ("alice", "bob") for url in (g.stack.url, twin.url)]
            answers = await asyncio.gather(
                *(g.ask(name, "POST", "/chat", body, url=url) for name, url in asked)
            )
            statuses = [answer.status for answer in answers]
            assert statuses in ([200, 200, 404, 404], [404, 404, 200, 200])
            assert len(g.stack.ollama.chats) == nth + 1


async def test_one_chat_id_of_two_callers(file: Path) -> None:
    """The AI SDK's ids are the client's own: each caller's lead to that caller's answer."""
    async with guarded(file) as g:
        runs = {name: await g.start(name, "ui-message") for name in ("alice", "bob", "")}
        for name in runs:
            stopped = await g.ask(name, "DELETE", "/ai-sdk/chat/chat/stream")
            assert stopped.body["run_id"] == runs[name]


async def test_a_new_token_for_a_name(file: Path) -> None:
    """The name keeps its runs; the old token is nobody's."""
    async with guarded(file) as g:
        run_id = await g.start("alice")
        new = token_file.new_token()
        replace_token(file, g.tokens["alice"], new)
        await g.until("alice", 401)
        g.tokens["alice"] = new
        state = await g.ask("alice", "GET", f"/runs/{run_id}")
        assert state.body["status"] == "running"


async def test_a_token_that_is_removed(file: Path) -> None:
    """It works no longer within a second or so, and its runs are stopped; others' go on."""
    async with guarded(file) as g:
        kept = await g.start("bob")
        async with ChatClient(g.stack.url, g.tokens["alice"]) as alice:
            async with alice.chat("Hi", model="story") as stream:
                token_file.remove(file, "alice")
                with pytest.raises(RunFailed, match="unauthorized: The token that started"):
                    async for _ in stream:
                        pass
            with pytest.raises(RequestRefused) as refused:
                await alice.models()
            assert refused.value.status == 401
        assert (await g.ask("bob", "GET", f"/runs/{kept}")).body["status"] == "running"
        while not any(  # noqa: ASYNC110
            one.ended is Ending.CLIENT_LEFT for one in g.stack.ollama.chats
        ):
            await asyncio.sleep(0.02)


async def test_a_token_that_is_removed_while_its_request_arrives(file: Path) -> None:
    """The request was let in, but no run of it goes on."""
    async with guarded(file) as g:
        host, port = g.stack.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        authorization = f"\r\nAuthorization: Bearer {g.tokens['alice']}\r\n".encode()
        data = raw_request("POST", "/chat", {"messages": user("Hi")})
        data = data.replace(b"\r\n", authorization + b"Content-Type: application/json\r\n", 1)
        writer.write(data[:-5])
        token_file.remove(file, "alice")
        await g.until("alice", 401)
        writer.write(data[-5:])
        said = await reader.readuntil(b'"type":"end"')
        writer.close()
        assert b'"code":"unauthorized"' in said


async def test_a_token_that_is_added(file: Path) -> None:
    """It works within a second or so, without a restart."""
    async with guarded(file) as g:
        g.tokens["carol"] = "dripline_nobody"
        assert (await g.ask("carol", "GET", "/models")).status == 401
        g.add(Caller("carol"))
        await g.until("carol", 200)


async def test_who_asks_stands_in_the_log_and_in_the_metrics(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """By name; neither a token nor its hash does, and DRIPLINE_TOKEN has no name."""
    caplog.set_level(logging.DEBUG)
    async with guarded(file, SHORT) as g:
        body: Json = {"messages": user("Hi")}
        await g.ask("alice", "POST", "/chat", body)
        await g.ask("", "POST", "/chat", body)
        await g.ask("bob", "GET", "/runs/nothing")
        async with g.stack.http.get(f"{g.stack.url}/models") as response:
            assert response.status == 401
        async with g.stack.http.get(f"{g.stack.url}/metrics", headers=g.bearer("bob")) as response:
            figures = (await response.text()).splitlines()
    requests = [vars(one) for one in caplog.records if one.name == "dripline_server.access"]
    assert [(one["caller"], one["route"], one["status"]) for one in requests] == [
        ("alice", "/chat", 200),
        ("", "/chat", 200),
        ("bob", "/runs/{run_id}", 404),
        ("", "/models", 401),
        ("bob", "/metrics", 200),
    ]
    ended = [vars(one)["caller"] for one in caplog.records if one.getMessage() == "run ended"]
    assert ended == ["alice", ""]
    named = [one for one in figures if one.startswith("dripline_caller_runs_total")]
    assert named == ['dripline_caller_runs_total{caller="alice",status="completed"} 1.0']
    for token in g.tokens.values():
        assert token not in caplog.text
        assert token_file.hash_of(token.encode()) not in caplog.text


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_caller_s_own_limit_of_runs(file: Path, dialect: str) -> None:
    """429 in the dialect's own form, and when to try again; nobody else is held back by it."""
    callers = Caller("alice", max_runs=2), Caller("bob")
    async with guarded(file, callers=callers) as g:
        path, body, _ = DIALECTS[dialect]
        first, _ = await g.start("alice", dialect), await g.start("alice")
        for _ in range(2):
            full = await g.ask("alice", "POST", path, body)
            assert full.status == 429
            assert int(full.headers["Retry-After"]) > 0
            assert full.error["code"] == "too_many_runs"
            assert "max_runs" in full.error["message"]
            assert full.error.get("type") == ("rate_limit_error" if dialect == "openai" else None)
        await g.start("bob", dialect)
        await g.start("", dialect)
        assert (await g.ask("alice", "DELETE", f"/runs/{first}")).status == 202
        while (await g.ask("alice", "DELETE", f"/runs/{first}")).status != 204:
            pass
        await g.start("alice", dialect)


async def test_asking_again_takes_no_second_place(file: Path) -> None:
    """A request that is repeated with its `run_id` is the run that goes on already."""
    async with guarded(file, callers=(Caller("alice", max_runs=1),)) as g:
        assert {await g.start("alice", run_id=NAME) for _ in range(3)} == {NAME}


MODELS = {"good": SHORT, "good:big": SHORT, "other": SHORT}


@asynccontextmanager
async def limited(file: Path, default: str = "") -> AsyncIterator[Guarded]:
    """Alice may use good:latest alone, bob no model that there is; the third is DRIPLINE_TOKEN."""
    callers = Caller("alice", models=("good",)), Caller("bob", models=("mine*",))
    tokens = {caller.name: token_file.add(file, caller) for caller in callers}
    async with stack(MODELS, tokens=str(file), token=MAIN, model=default) as s:
        yield Guarded(s, file, {"": MAIN, **tokens})


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_models_that_a_caller_may_not_use(file: Path, dialect: str) -> None:
    """403 in the dialect's own form; by any of its names the allowed one is allowed."""
    path, body, _ = DIALECTS[dialect]

    def naming(model: str) -> Json:
        if dialect == "agui":
            return {**body, "forwardedProps": {"dripline": {"model": model}}}
        return {**body, "model": model}

    async with limited(file) as g:
        for name, model in (("alice", "other"), ("alice", "good:big"), ("bob", "good")):
            refused = await g.ask(name, "POST", path, naming(model))
            assert refused.status == 403
            assert refused.error["code"] == "model_not_allowed"
            assert repr(model) in refused.error["message"]
            kind = "permission_error" if dialect == "openai" else None
            assert refused.error.get("type") == kind
        assert g.stack.ollama.chats == []
        for name, model in (("alice", "library/GOOD:latest"), ("", "other")):
            assert (await g.ask(name, "POST", path, naming(model))).status == 200
        assert len(g.stack.ollama.chats) == 2


async def test_models_that_a_caller_may_not_use_are_not_listed(file: Path) -> None:
    """In no list, and not as the default; what Ollama has is not told to them at all."""
    async with limited(file, default="other") as g:
        for name, allowed, default in (
            ("alice", ["good:latest"], ""),
            ("bob", [], ""),
            ("", ["good:big", "good:latest", "other:latest"], "other"),
        ):
            native = (await g.ask(name, "GET", "/models")).body
            assert sorted(model["name"] for model in native["models"]) == allowed
            assert native["default"] == default
            openai = (await g.ask(name, "GET", "/v1/models")).body
            assert sorted(model["id"] for model in openai["data"]) == allowed
            one = await g.ask(name, "GET", "/v1/models/other")
            assert one.status == (200 if default else 404)
            service = await g.ask(name, "GET", "/", Accept="application/json")
            assert service.body["model"] == default
        async with g.stack.http.get(g.stack.url) as response:
            assert (await response.json())["model"] == ""


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_default_model_that_a_caller_may_not_use(file: Path, dialect: str) -> None:
    """Who names no model is asked to name one; who may use the default gets it."""
    path, body, _ = DIALECTS[dialect]
    async with limited(file, default="other") as g:
        refused = await g.ask("alice", "POST", path, body)
        assert (refused.status, refused.error["code"]) == (403, "model_not_allowed")
        assert "name one" in refused.error["message"]
        assert "other" not in refused.error["message"]
        assert (await g.ask("", "POST", path, body)).status == 200


async def test_another_model_by_a_name_in_another_case(file: Path) -> None:
    """Go would read "Model" as the model, and the last of two counts: it is refused, for all."""
    async with limited(file) as g:
        for name in ("Model", "MODEL", "mOdel"):
            body: Json = {"messages": user("Hi"), "model": "good", name: "other"}
            asked = await g.ask("alice", "POST", "/chat", body)
            assert asked.status == 400
            assert asked.error["message"] == f"{name}: is written 'model'"
        for name in ("Stream", "\u017ftream", "Keep_alive", "thin\u212a"):
            body = {"messages": user("Hi"), "model": "good", name: False}
            assert (await g.ask("alice", "POST", "/chat", body)).status == 400, name
        assert g.stack.ollama.chats == []


async def test_loading_a_model_needs_the_right_to_use_it(file: Path) -> None:
    """A request without messages asks nothing, and takes the GPU all the same."""
    async with limited(file) as g:
        body: Json = {"messages": [], "model": "other", "keep_alive": -1}
        assert (await g.ask("alice", "POST", "/chat", body)).status == 403


async def test_a_file_without_tokens_lets_nobody_in(file: Path) -> None:
    """Nobody, and not everybody; but DRIPLINE_TOKEN where there is one."""
    await asyncio.to_thread(file.touch)
    async with stack(SHORT, tokens=str(file)) as s, stack(SHORT, tokens=str(file), token=MAIN) as t:
        for running, token, status in ((s, MAIN, 401), (s, "", 401), (t, MAIN, 200), (t, "", 401)):
            headers = {"Authorization": f"Bearer {token}"}
            async with running.http.get(f"{running.url}/models", headers=headers) as response:
                assert response.status == status
            async with running.http.get(f"{running.url}/health", headers=headers) as response:
                assert ("ollama" in await response.json()) is (status == 200)


@pytest.mark.parametrize("text", ["[alice]\nsha256 = 'x'\n", None], ids=["broken", "missing"])
def test_a_server_does_not_start_with_a_bad_file(file: Path, text: str | None) -> None:
    """The option, the file and what is wrong are named."""
    if text is not None:
        file.write_text(text)
    with pytest.raises(BadSetting, match=f"^--tokens: {file}: "):
        create_app(Settings(tokens=str(file)))


async def test_beyond_this_machine_with_a_file_of_tokens(file: Path) -> None:
    """A file is a token enough for `--host`; the command serves those who are in it alone."""
    token = token_file.add(file, Caller("alice"))
    arguments = ("--host=0.0.0.0", "--port=0", "--ollama=http://127.0.0.1:1", f"--tokens={file}")
    async with command("dripline-server", *arguments) as process:
        port = (await line(process)).rpartition(":")[2]
        async with aiohttp.ClientSession() as http:
            for sent, status in ((token, 200), (f"{token}0", 401), ("", 401)):
                headers = {"Authorization": f"Bearer {sent}"}
                url = f"http://127.0.0.1:{port}/metrics"
                async with http.get(url, headers=headers) as response:
                    assert response.status == status


async def test_agents_that_a_caller_may_not_use(file: Path) -> None:
    """They are models to a token: not listed, refused, and not named in any message."""

    async def count(_: Chat) -> AsyncIterator[str]:
        yield "1"

    token = token_file.add(file, Caller("alice", models=("count", "good")))
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        FakeOllama(MODELS) as ollama,
        serve(
            Settings(port=0, ollama=ollama.url, tokens=str(file)),
            agents={"count": count, "secret": count},
        ) as server,
        aiohttp.ClientSession(server.url, headers=headers) as http,
    ):
        async with http.get("/models") as response:
            listed = [model["name"] for model in (await response.json())["models"]]
        assert sorted(listed) == ["count", "good:latest"]
        for model, status in (("count", 200), ("secret", 403)):
            body: Json = {"messages": user("Hi"), "model": model, "stream": False}
            async with http.post("/chat", json=body) as response:
                assert response.status == status
