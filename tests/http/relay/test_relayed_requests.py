"""What may be asked of Ollama through dripline, by whom, and how much of it at once."""

from __future__ import annotations

import asyncio
import gzip
import json
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest

from dripline.recordings.recording import ExchangeEnding, Recording
from dripline.recordings.replay_server import ReplayServer
from dripline.testing import Fault, Pace, Script
from dripline_server import token_file
from dripline_server.app import serve
from dripline_server.callers import Caller
from dripline_server.settings import Settings
from tests.support.raw_http import raw_exchange
from tests.support.scripted_server import Say, ScriptedServer, answer
from tests.support.stack import stack, user
from tests.support.tcp_server import TcpServer

TOKEN = "correct-horse-battery-staple"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
CHAT = {"model": "story", "messages": user("Hi")}
OK = answer(200, b"{}")

# Every way of writing an address that Ollama, or a proxy before it, could take for these.
CHANGES = [
    *(f"/api/{name}" for name in ("pull", "push", "create", "copy", "delete", "blobs/sha256:0")),
    *(f"/ollama/api/{name}" for name in ("pull", "delete", "blobs/sha256:0")),
    *("/api/pull/", "/api/pull?x=1", "/api/pull?", "/api/pull%20", "/api/pull%00", "/api/pull;a=b"),
    *("/api/%70ull", "/api/p%75ll", "/api/%2570ull", "/api/%252570ull", "/api/PULL", "/api/Pull"),
    *("/api//pull", "/api/./pull", "/api/tags/../pull", "/api/%2e/pull", "/api/%2e%2e/api/pull"),
    *("/v1/../api/pull", "/v1/%2e%2e/api/pull", "/v1/%2e%2e%2fapi%2fpull", "/ollama//api/pull"),
    *("/ollama/api%2Fpull", "/ollama/%61pi/pull", "/ollama/API/pull", "/ollama/api/%5cpull"),
    *("/ollama/x/../api/pull", "/ollama/v1/..%2fapi/pull", "/ollama/api/pull%23", "/api/pull%3f"),
    *("/api/copy/x", "/ollama/ollama/../api/pull", "/api/%25252525252525252570ull"),
]
READS = [
    "/api/show",
    "/api/chat",
    "/api/generate",
    "/api/pullover",
    "/v1/embeddings",
    "/api/pulled",
]


async def status_of(url: str, method: str, path: str, headers: str = "") -> tuple[int, bytes]:
    """Send a request whose path no library changes, and return status and body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}Connection: close\r\n\r\n"
    writer.write(head.encode())
    data = await reader.read()
    writer.close()
    return int(data.split()[1]), data.partition(b"\r\n\r\n")[2]


async def test_changes_of_models_are_refused() -> None:
    """However the address is written; what only reads is passed on."""
    async with (
        ScriptedServer(OK) as upstream,
        serve(Settings(port=0, ollama=upstream.url, token=TOKEN)) as dripline,
    ):
        sent = f"Authorization: Bearer {TOKEN}\r\n"
        for path in CHANGES:
            for method in ("POST", "DELETE", "PUT", "PATCH"):
                status, body = await status_of(dripline.url, method, path, sent)
                assert status == 403, (method, path)
                assert b"--allow-model-changes" in body
        assert not upstream.asked
        for path in READS:
            assert (await status_of(dripline.url, "POST", path, sent))[0] == 200, path
        for path in CHANGES:
            assert (await status_of(dripline.url, "GET", path, sent))[0] == 200, path
        assert {asked.method for asked in upstream.asked[len(READS) :]} == {"GET"}


@pytest.mark.parametrize(
    ("settings", "allowed"),
    [
        ({}, True),
        ({"host": "127.0.0.1", "token": TOKEN}, False),
        ({"token": TOKEN, "allow_model_changes": True}, True),
        ({"host": "0.0.0.0", "no_auth": True}, False),
        ({"host": "0.0.0.0", "no_auth": True, "allow_model_changes": True}, True),
        ({"allow_model_changes": False}, False),
    ],
)
async def test_who_may_change_models(settings: dict[str, object], allowed: bool) -> None:
    """Everybody on this machine, unless there is a token; elsewhere, who was allowed to."""
    async with stack(Script("Hi"), **settings) as s:
        url = s.url.replace("0.0.0.0", "127.0.0.1")
        async with s.http.post(
            f"{url}/api/copy", json={"source": "story", "destination": "b"}, headers=BEARER
        ) as response:
            assert response.status == (200 if allowed else 403)
        assert ("b:latest" in s.ollama.models or "b" in s.ollama.models) is allowed


async def test_a_path_above_ollamas_is_refused() -> None:
    """Ollama may be below a path of another server, whose other paths are not for clients."""
    async with (
        ScriptedServer(OK) as upstream,
        serve(Settings(port=0, ollama=f"{upstream.url}/below")) as dripline,
    ):
        for path in ("/api/../../x", "/ollama/..%2f../x", "/ollama/%2e%2e/x", "/v1/..%5c../x"):
            assert (await status_of(dripline.url, "GET", path))[0] == 400, path
        await status_of(dripline.url, "GET", "/api/tags?x")
    assert [asked.path for asked in upstream.asked] == ["/below/api/tags?x"]


async def test_credentials_stay_here() -> None:
    """Dripline's token, or any other, and cookies are not passed on; Ollama's own key is sent."""
    sent = {**BEARER, "X-Api-Key": TOKEN, "Cookie": "a=b", "X-Mine": "1", "Origin": ""}
    async with ScriptedServer(OK) as upstream:
        cases: list[tuple[dict[str, Any], bytes | None]] = [
            ({"token": TOKEN}, None),
            ({}, None),
            ({"ollama_api_key": "ollamas-key"}, b"Bearer ollamas-key"),
            ({"ollama_headers": (("X-Mine", "theirs"),)}, None),
        ]
        for settings, key in cases:
            async with (
                serve(Settings(port=0, ollama=upstream.url, **settings)) as dripline,
                httpx.AsyncClient() as http,
            ):
                headers = {**sent, "Origin": dripline.url}
                await http.get(f"{dripline.url}/api/tags", headers=headers)
            got = upstream.asked[-1].headers
            assert got.get("authorization") == key
            assert not {"x-api-key", "cookie", "origin"} & got.keys()
            assert got["x-mine"] == (b"theirs" if "ollama_headers" in settings else b"1")
            assert got["host"].decode() == upstream.url.removeprefix("http://")


async def test_headers_of_one_connection_stay_on_it() -> None:
    """In both directions, those that `Connection` names included; the framing can't be hidden."""
    say = (
        b"HTTP/1.1 200 OK\r\nConnection: close, x-hop\r\nX-Hop: 1\r\nKeep-Alive: 1\r\nX-End: 1\r\n"
    )
    async with (
        ScriptedServer(Say(say + b"Content-Length: 0\r\n\r\n")) as upstream,
        serve(Settings(port=0, ollama=upstream.url)) as dripline,
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", int(dripline.url[17:]))
        writer.write(
            b"POST /api/x HTTP/1.1\r\nHost: localhost\r\nConnection: x-mine, content-length\r\n"
            b"X-Mine: 1\r\nTE: trailers\r\nContent-Length: 2\r\n\r\n{}"
        )
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        writer.close()
    got = upstream.asked[0]
    assert not {"x-mine", "te"} & got.headers.keys()
    assert got.body == b"{}"
    assert b"x-end" in head
    assert b"x-hop" not in head
    assert b"keep-alive" not in head


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/api/tags", lambda body: isinstance(body["error"], str)),
        ("/ollama/api/tags", lambda body: isinstance(body["error"], str)),
        ("/v1/embeddings", lambda body: body["error"]["code"] == "unauthorized"),
        ("/v1/messages", lambda body: body["error"]["type"] == "authentication_error"),
    ],
)
async def test_without_the_token(
    path: str, error: Callable[[dict[str, dict[str, str]]], bool]
) -> None:
    """401, in the form of the API that was asked, and Ollama hears nothing of it."""
    async with stack(Script("Hi"), token=TOKEN) as s:
        for headers in ({}, {"Authorization": "Bearer wrong"}):
            async with s.http.post(s.url + path, json=CHAT, headers=headers) as response:
                assert response.status == 401
                assert error(await response.json())
        assert not s.ollama.requests


async def test_pages_from_elsewhere() -> None:
    """A foreign page gets nothing; one that is named may read the answer and its `X-Run-Id`."""
    app = "https://app.example.com"
    async with stack(Script("Hi"), cors_origins=(app,)) as s:
        async with s.http.get(f"{s.url}/api/tags", headers={"Origin": "https://evil"}) as response:
            assert response.status == 403
        async with s.http.get(f"{s.url}/api/tags", headers={"Origin": app}) as response:
            assert response.headers["Access-Control-Allow-Origin"] == app
            assert "X-Run-Id" in response.headers["Access-Control-Expose-Headers"]
            assert response.headers["X-Run-Id"]
        asks = {
            "Origin": app,
            "Access-Control-Request-Method": "DELETE",
            "Access-Control-Request-Headers": "x-stainless-os,authorization",
        }
        async with s.http.options(f"{s.url}/api/delete", headers=asks) as response:
            assert response.status == 204
            assert "x-stainless-os" in response.headers["Access-Control-Allow-Headers"]
        assert [request.path for request in s.ollama.requests] == ["/api/tags"]


async def test_a_body_of_the_ai_sdk() -> None:
    """400 that says where its address is now; Ollama's own bodies are not taken for one."""
    parts = [{"id": "a", "role": "user", "parts": [{"type": "text", "text": "Hi"}]}]
    async with stack(Script("Hi")) as s:
        asked = {"id": "chat", "messages": parts, "trigger": "submit-message"}
        moved = await raw_exchange(s.url, "POST", "/api/chat", asked)
        assert moved.status == 400
        assert "/ai-sdk/chat" in json.loads(moved.body)["error"]
        assert not s.ollama.requests
        mine = {**CHAT, "messages": user('my "parts": []'), "stream": False}
        assert (await raw_exchange(s.url, "POST", "/api/chat", mine)).status == 200
        for body in (b"{", b"", b'{"parts": "'):
            assert (await raw_exchange(s.url, "POST", "/api/chat", body)).status == 400
        assert len(s.ollama.requests) == 4


async def test_runs_and_relayed_requests_share_a_limit() -> None:
    """An open answer counts; what only looks something up does not."""
    async with stack(Script(pace=Pace(first_token=math.inf)), max_runs=1) as s:
        first = asyncio.create_task(
            raw_exchange(s.url, "POST", "/ollama/v1/chat/completions", CHAT)
        )
        await s.ollama.wait_for_request()
        full = await raw_exchange(s.url, "POST", "/api/chat", CHAT)
        assert (full.status, full.headers["retry-after"]) == (503, "5")
        assert "--max-runs" in json.loads(full.body)["error"]
        async with s.http.post(f"{s.url}/chat", json=CHAT) as own:
            assert own.status == 503
        assert (await raw_exchange(s.url, "GET", "/api/tags")).status == 200
        assert (await raw_exchange(s.url, "POST", "/api/show", {"model": "story"})).status == 200
        first.cancel()
        while s.server.state.runs.active:  # noqa: ASYNC110 (nothing else tells)
            await asyncio.sleep(0)
        async with s.http.post(f"{s.url}/chat", json={**CHAT, "on_disconnect": "stop"}) as own:
            assert own.status == 200


@asynccontextmanager
async def taking() -> AsyncIterator[tuple[str, asyncio.Queue[bytes]]]:
    """Run dripline before a server that notes the bytes as they come, and answers at the end."""
    came: asyncio.Queue[bytes] = asyncio.Queue()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.put_nowait(await reader.readuntil(b"\r\n\r\n"))
        while data := await reader.read(2**16):
            came.put_nowait(data)
            if data.endswith((b"end", b"0\r\n\r\n")):
                break
        writer.write(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")

    async with (
        TcpServer(take) as upstream,
        serve(Settings(port=0, ollama=upstream.url, max_body=1000, body_time=0.5)) as dripline,
    ):
        yield dripline.url, came


async def gathered(came: asyncio.Queue[bytes], size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += await came.get()
    return data


async def test_an_upload_is_passed_on_as_it_comes() -> None:
    """With its length or in chunks, before it is complete; a blob may be larger than others."""
    async with taking() as (url, came):
        for framing in (b"Content-Length: 100007", b"Transfer-Encoding: chunked"):
            chunked = b"chunked" in framing
            reader, writer = await asyncio.open_connection("127.0.0.1", int(url[17:]))
            writer.write(b"POST /api/blobs/sha256:0 HTTP/1.1\r\nHost: localhost\r\n")
            writer.write(framing + b"\r\n\r\n")
            writer.write(b"4\r\nhalf\r\n" if chunked else b"half")
            assert framing in await came.get()
            assert b"half" in await came.get()
            rest = b"x" * 100_000 + b"end"
            writer.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(rest), rest) if chunked else rest)
            await gathered(came, len(rest))
            assert b" 201 " in await reader.readline()
            writer.close()


@pytest.mark.parametrize("path", ["/api/chat", "/api/embed"])
async def test_a_compressed_request(path: str) -> None:
    """Ollama gets it unpacked, and framed right: it knows no such bodies itself."""
    async with stack(Script("Hi", capabilities=["completion", "embedding"])) as s:
        headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
        data = gzip.compress(json.dumps({**CHAT, "input": "Hi"}).encode())
        async with s.http.post(s.url + path, data=data, headers=headers) as response:
            assert response.status == 200
            await response.read()
        assert "Content-Encoding" not in s.ollama.requests[0].headers


async def test_limits_of_bodies() -> None:
    """Too large: 413, before and while it comes. Too slow: 408. Not as it says: 400."""
    async with taking() as (url, _):
        for head, body, status in (
            (b"Content-Length: 1001", b"", 413),
            (b"Transfer-Encoding: chunked", b"3e9\r\n" + b"x" * 1001 + b"\r\n0\r\n\r\n", 413),
            (b"Content-Length: 10", b"slow", 408),
            (b"Transfer-Encoding: chunked", b"zz\r\n", 400),
        ):
            for path in (b"/api/embed", b"/api/chat"):
                reader, writer = await asyncio.open_connection("127.0.0.1", int(url[17:]))
                writer.write(b"POST %b HTTP/1.1\r\nHost: localhost\r\n%b\r\n\r\n" % (path, head))
                writer.write(body)
                line = await reader.readline()
                assert line.split()[1] == b"%d" % status, (path, head)
                writer.close()


@pytest.mark.parametrize("path", ["/api/blobs/sha256:0", "/api/chat", "/api/generate"])
async def test_expect_100_continue(path: str) -> None:
    """The client is asked for the body when Ollama asks for it, and not before the checks."""

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if path != "/api/chat":  # which dripline reads first
            assert b"Expect: 100-continue" in head
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await reader.readexactly(2)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async with (
        TcpServer(take) as upstream,
        serve(Settings(port=0, ollama=upstream.url, token=TOKEN, allow_model_changes=True)) as d,
    ):
        head = (
            f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n"
            "Expect: 100-continue\r\n"
        )
        for authorization, first in (("", b" 401 "), (f"Bearer {TOKEN}", b" 100 ")):
            reader, writer = await asyncio.open_connection("127.0.0.1", int(d.url[17:]))
            writer.write(f"{head}Authorization: {authorization}\r\n\r\n".encode())
            assert first in await reader.readline()
            if first == b" 100 ":
                await reader.readline()
                writer.write(b"{}")
                assert b" 200 " in await reader.readline()
            writer.close()


async def test_an_answer_before_the_end_of_the_upload() -> None:
    """It is passed on at once, and the connection is closed, because its request never ended."""
    async with (
        ScriptedServer(Say(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")) as upstream,
        serve(Settings(port=0, ollama=upstream.url)) as dripline,
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", int(dripline.url[17:]))
        writer.write(
            b"POST /api/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        writer.write(b"2\r\nab\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"Connection: close" in head
        assert await reader.readexactly(2) == b"ok"
        writer.transport.abort()


async def test_recordings(tmp_path: Path) -> None:
    """One file a request, which the replay server plays to the same client."""
    fault = Fault.cut(at_token=3, times=1)
    async with stack(
        Script("Once upon a time", fault=fault), record=str(tmp_path), token=TOKEN
    ) as s:
        answers = []
        for _ in range(2):
            async with aiohttp.ClientSession(headers=BEARER) as http:
                answers.append(await read(http, f"{s.url}/api/chat"))
    assert answers[0][1]
    assert not answers[1][1]
    files = in_order(tmp_path)
    assert len(files) == 2
    for file, (body, broken) in zip(files, answers, strict=True):
        assert TOKEN not in file.read_text()
        recording = Recording.load(file)
        assert recording.ending is (ExchangeEnding.CUT if broken else ExchangeEnding.EOF)
        assert recording.body == body
        async with ReplayServer(recording, match="body") as replay, aiohttp.ClientSession() as http:
            assert await read(http, f"{replay.url}/api/chat") == (body, broken)
            replay.assert_expected()


def in_order(folder: Path) -> list[Path]:
    return sorted(folder.iterdir(), key=lambda file: file.stat().st_mtime_ns)


async def read(http: aiohttp.ClientSession, url: str) -> tuple[bytes, bool]:
    """Return the body as far as it came, and whether it broke."""
    body = b""
    async with http.post(url, json=CHAT) as response:
        try:
            async for piece in response.content.iter_any():
                body += piece
        except aiohttp.ClientPayloadError:
            return body, True
    return body, False


async def test_figures_and_the_access_log(caplog: pytest.LogCaptureFixture) -> None:
    """By endpoint, model and outcome; no name that a client made up becomes a label."""
    caplog.set_level("INFO")
    async with stack(Script("Hi")) as s:
        for number in range(3):
            body = {"model": f"made-up-{number}", "messages": []}
            await raw_exchange(s.url, "POST", "/api/chat", body)
        await raw_exchange(s.url, "POST", "/api/chat", CHAT)
        await raw_exchange(s.url, "POST", "/api/made-up", CHAT)
        async with s.http.get(f"{s.url}/metrics") as response:
            text = await response.text()
    name = "dripline_relayed_requests_total"
    assert f'{name}{{endpoint="/api/chat",model="story",outcome="2xx"}} 1.0' in text
    assert f'{name}{{endpoint="/api/chat",model="other",outcome="4xx"}} 3.0' in text
    assert f'{name}{{endpoint="other",model="story",outcome="4xx"}} 1.0' in text
    assert "made-up" not in text
    routes = [vars(r).get("route") for r in caplog.records if r.name == "dripline_server.access"]
    assert routes[:5] == ["/api/chat"] * 4 + ["other"]
    assert all(vars(r)["run"] for r in caplog.records if vars(r).get("route") == "/api/chat")


async def test_named_tokens(tmp_path: Path) -> None:
    """Each may use its models alone, and change models only if that is its right."""
    file = tmp_path / "tokens.toml"
    few = token_file.add(file, Caller("few", max_runs=1, models=("story",)))
    admin = token_file.add(file, Caller("admin", allow_model_changes=True))
    scripts = {"story": Script("Hi"), "other": Script("Hi")}
    async with stack(scripts, tokens=str(file)) as s:

        async def asked(token: str, path: str, body: bytes | None = None) -> int:
            headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
            async with s.http.post(s.url + path, data=body, headers=headers) as response:
                await response.read()
                return response.status

        mine = json.dumps({**CHAT, "stream": False}).encode()
        for path in ("/api/chat", "/ollama/v1/chat/completions"):
            assert await asked(few, path, mine) == 200
            assert await asked(admin, path, mine.replace(b"story", b"other")) == 200
        before = len(s.ollama.requests)
        for path in (
            "/api/chat",
            "/api/chat/",
            "/api/generate",
            "/v1/messages",
            "/api/show",
            "/api/x",
        ):
            for body in (
                mine.replace(b"story", b"other"),
                mine.replace(b'"model"', b'"MODEL"').replace(b"story", b"other"),
                b'{"Model": "other", "model": "story"}',
                b'{"name": "other"}',
            ):
                assert await asked(few, path, body) == 403, (path, body)
        for unnamed in (b"{}", b"no JSON", None):
            assert await asked(few, "/api/generate", unnamed) == 403
        assert len(s.ollama.requests) == before
        copy = json.dumps({"source": "story", "destination": "b"}).encode()
        assert await asked(few, "/api/copy", copy) == 403
        assert await asked(admin, "/api/copy", copy) == 200
