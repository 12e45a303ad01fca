"""What stands before the server: another app, a socket file, proxies, and who speaks no HTTP."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from openai import AsyncOpenAI

from dripline import ChatClient, EventDecoder
from dripline.testing import FakeOllama, Fault, Script
from dripline_server import BadSetting, Settings, create_app, serve
from dripline_server.settings import load
from tests.support.processes import command, line
from tests.support.programs import ROOT, require_npm_packages, require_program
from tests.support.stack import stack, user

TOKEN = "correct-horse-battery-staple"


@asynccontextmanager
async def part_of_an_app(**settings: Any) -> AsyncIterator[str]:
    """Dripline below /ai/ of an app that has a limit, a middleware and a page of its own."""

    async def home(_: web.Request) -> web.Response:
        return web.Response(text="home")

    async with FakeOllama({"story": Script(["Blue."])}) as ollama:
        whole = web.Application(client_max_size=1000)
        whole.router.add_get("/", home)
        given = Settings(ollama=ollama.url, model="story", **settings)
        whole.add_subapp("/ai/", create_app(given))
        runner = web.AppRunner(whole, handler_cancellation=True)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()


async def test_a_part_of_another_app() -> None:
    """Every door works below a path, the page with its files too; the rest is the app's."""
    async with part_of_an_app() as url, aiohttp.ClientSession() as http:
        async with ChatClient(f"{url}/ai") as client:
            assert (await client.ask("Why?")).text == "Blue."
            # More than the app's own limit for bodies.
            assert (await client.ask("Why? " * 1000)).text == "Blue."
        async with AsyncOpenAI(base_url=f"{url}/ai/v1", api_key="none") as openai:
            said = await openai.chat.completions.create(
                model="story",
                messages=user("Why?"),  # type: ignore[arg-type]
            )
            assert said.choices[0].message.content == "Blue."
        for path, kind in {
            "/ai/": "text/html",
            "/ai/static/main.js": "javascript",
            "/": "text/plain",
        }.items():
            async with http.get(url + path, headers={"Accept": "text/html"}) as response:
                assert response.status == 200
                assert kind in response.content_type
        async with http.get(f"{url}/ai/static/main.js") as response:
            assert "default-src 'none'" in response.headers["Content-Security-Policy"]
        async with http.get(f"{url}/ai/api/tags") as response:
            assert (await response.json())["models"][0]["name"] == "story:latest"
        async with http.get(f"{url}/ai/ollama/") as response:
            assert await response.text() == "Ollama is running"
        async with http.post(
            f"{url}/ai/api/chat", json={"id": "x", "messages": [{"parts": []}]}
        ) as response:
            assert "/ai-sdk/chat" in (await response.json())["error"]
        async with http.post(f"{url}/ai/v1/chat/completions", json={}) as response:
            assert (await response.json())["error"]["type"] == "invalid_request_error"


async def test_a_part_of_another_app_asks_for_its_token() -> None:
    """What is open without one is open below a path too, and nothing else."""
    async with part_of_an_app(token=TOKEN) as url, aiohttp.ClientSession() as http:
        for path, status in {"/ai/": 200, "/ai/health": 200, "/ai/models": 401, "/": 200}.items():
            async with http.get(url + path) as response:
                assert response.status == status, path


async def test_a_unix_socket(tmp_path: Path) -> None:
    """It is served, taken from nobody, and gone afterwards; no token is needed."""
    path = tmp_path / "socket"
    async with FakeOllama({"story": Script(["Blue."])}) as ollama:
        given = Settings(host=f"unix:{path}", ollama=ollama.url, model="story")
        async with (
            serve(given) as server,
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as http,
        ):
            assert server.url == f"unix:{path}"
            async with http.post("http://localhost/chat", json={"messages": user("?")}) as said:
                assert said.status == 200
                assert b'"status":"completed"' in await said.read()
            with pytest.raises(OSError, match="Address already in use"):
                async with serve(given):
                    pass
        assert not path.exists()


@pytest.mark.parametrize(
    ("variable", "text", "why"),
    [
        ("DRIPLINE_HOST", "unix:", "name the socket's file"),
        ("DRIPLINE_TRUSTED_PROXIES", "10.0.0.0/8,nonsense", "'nonsense' does not appear to be"),
        ("DRIPLINE_CORS_ORIGINS", "https://x.example/", "ends with a slash"),
        ("DRIPLINE_CORS_ORIGINS", "https://x.example/app", "has a path"),
        ("DRIPLINE_CORS_ORIGINS", "https://x.example:443", "browsers leave :443 out"),
        ("DRIPLINE_CORS_ORIGINS", "x.example", "is not an origin such as"),
    ],
)
def test_what_cannot_be(variable: str, text: str, why: str) -> None:
    """It is refused at the start, with what is wrong."""
    with pytest.raises(BadSetting, match=f"{variable}: .*{why}"):
        load({}, {variable: text})


@pytest.mark.parametrize(
    "origin",
    [
        "https://app.example.com:8443",
        "chrome-extension://abcdefghijklmnop",
        "moz-extension://0f1e2d3c",
        "tauri://localhost",
        "vscode-webview://1a2b3c",
        "capacitor://localhost",
    ],
)
async def test_origins_of_extensions_and_desktop_shells(origin: str) -> None:
    """Named, they may use the server and read its answers; others of their kind may not."""
    origins = load({}, {"DRIPLINE_CORS_ORIGINS": origin}).cors_origins
    async with stack(Script(["Hi."]), cors_origins=origins) as s:
        async with s.http.get(f"{s.url}/models", headers={"Origin": origin}) as response:
            assert response.status == 200
            assert response.headers["Access-Control-Allow-Origin"] == origin
        async with s.http.get(f"{s.url}/models", headers={"Origin": f"{origin}x"}) as response:
            assert response.status == 403


# Who is trusted, X-Forwarded-For, and who asks then, by the access log.
REMOTES = [
    ("", "203.0.113.9", "127.0.0.1"),
    ("127.0.0.1", "203.0.113.9", "203.0.113.9"),
    ("127.0.0.1", "6.6.6.6, 203.0.113.9", "203.0.113.9"),
    ("127.0.0.0/8,10.0.0.0/8", "203.0.113.9, 10.1.2.3", "203.0.113.9"),
    ("127.0.0.1", "203.0.113.9:4711", "203.0.113.9"),
    ("127.0.0.1", "[2001:db8::1]:4711", "2001:db8::1"),
    ("127.0.0.1", "unknown", "127.0.0.1"),
    ("10.0.0.0/8", "203.0.113.9", "127.0.0.1"),
    ("unix", "203.0.113.9", "127.0.0.1"),
]


@pytest.mark.parametrize(("trusted", "sent", "remote"), REMOTES)
async def test_who_asks(
    trusted: str, sent: str, remote: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What proxies say counts where they are trusted, and only up to the first who is not."""
    proxies = tuple(filter(None, trusted.split(",")))
    caplog.set_level(logging.INFO, "dripline_server.access")
    async with (
        stack(Script(["Hi."]), trusted_proxies=proxies) as s,
        s.http.get(f"{s.url}/models", headers={"X-Forwarded-For": sent}) as response,
    ):
        assert response.status == 200
    (logged,) = [r for r in caplog.records if getattr(r, "route", "") == "/models"]
    assert getattr(logged, "remote", None) == remote


@pytest.mark.parametrize(
    ("trusted", "host", "status"),
    [
        ((), "chat.example.com", 403),
        (("127.0.0.1",), "chat.example.com", 200),
        (("127.0.0.1",), "evil.example", 403),
        (("127.0.0.1",), "evil.example, chat.example.com", 200),
    ],
)
async def test_which_host_was_asked(trusted: tuple[str, ...], host: str, status: int) -> None:
    """A trusted proxy's X-Forwarded-Host stands for Host, for the page's origin too."""
    headers = {
        "X-Forwarded-Host": host,
        "Host": "127.0.0.1",
        "Origin": f"https://{host.rpartition(' ')[2]}",
    }
    names = ("chat.example.com",)
    async with (
        stack(Script(["Hi."]), trusted_proxies=trusted, allowed_hosts=names) as s,
        s.http.get(f"{s.url}/models", headers=headers) as response,
    ):
        assert response.status == status


NOT_HTTP = {
    "a bad header": b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer s3cret\r\n"
    b"X\x00Y: 1\r\n\r\n",
    "a bad length": b"POST /chat HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer s3cret\r\n"
    b"Content-Length: s3cret\r\n\r\n",
    "no method": b"s3cret s3cret s3cret\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03s3cret\r\n\r\n",
    "a long line": b"GET /" + b"s3cret" * 4000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
}


@pytest.mark.parametrize("sent", NOT_HTTP.values(), ids=NOT_HTTP)
async def test_what_is_not_http(sent: bytes) -> None:
    """It gets JSON as every other fault does, and none of it is said back."""
    async with stack(Script(["Hi."])) as s:
        port = int(s.url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        answer = await reader.read()
        writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith((b"HTTP/1.1 400", b"HTTP/1.0 400"))
    assert b"X-Content-Type-Options: nosniff" in head
    assert json.loads(body)["error"]["code"] == "bad_http"
    assert b"s3cret" not in answer


async def test_no_proxy_may_transform_a_stream() -> None:
    """Compressing proxies would hold it back to its end."""
    async with (
        stack(Script(["Hi."])) as s,
        s.http.post(f"{s.url}/chat", json={"messages": user("Hi")}) as response,
    ):
        assert response.headers["Cache-Control"] == "no-cache, no-transform"


async def test_a_compressing_proxy_holds_nothing_back() -> None:
    """The first token comes while the model is still silent."""
    require_npm_packages("tests/js")
    script = Script(["Once", " upon"], fault=Fault.stall(at_token=1))
    proxy = str(ROOT / "tests/js/compressing_proxy.mjs")
    async with (
        stack(script) as s,
        command(require_program("node"), proxy, s.url, stderr=None) as process,
        aiohttp.ClientSession() as http,
    ):
        url = f"http://127.0.0.1:{await line(process)}"
        headers = {"Accept-Encoding": "gzip"}
        body = {"messages": user("Hi")}
        async with http.post(f"{url}/chat", json=body, headers=headers) as response:
            decoder = EventDecoder()
            async for piece in response.content.iter_any():
                if any("Once" in event.data for event in decoder.feed(piece)):
                    break
            chat = await s.ollama.wait_for_request()
            assert chat.ended is None
