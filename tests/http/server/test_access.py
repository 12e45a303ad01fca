"""Who may ask: attacks on a running server, by pages from elsewhere and by strangers."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from dripline.testing import Script
from dripline_server.settings import BadSetting, Settings
from tests.support.processes import command, line
from tests.support.stack import Stack, stack, user

TOKEN = "correct-horse-battery-staple"
APP = "https://app.example.com"
BODY = {"messages": user("Hi")}


@pytest.fixture
async def guarded() -> AsyncIterator[Stack]:
    """A server with a token, a name of its own, and one friendly origin."""
    async with stack(
        Script("Blue."), token=TOKEN, allowed_hosts=("chat.example.com",), cors_origins=(APP,)
    ) as running:
        yield running


async def ask(
    s: Stack, method: str, path: str, headers: dict[str, str], **body: Any
) -> tuple[int, str, aiohttp.ClientResponse]:
    """Return the status, the error's code, and the response."""
    async with s.http.request(method, s.url + path, headers=headers, **body) as response:
        text = await response.read()
        is_json = response.content_type == "application/json"
        code = (await response.json()).get("error", {}).get("code", "") if is_json and text else ""
        return response.status, code, response


HOSTS = {
    "127.0.0.1": True,
    "127.0.0.1:8000": True,
    "localhost:8000": True,
    "LOCALHOST": True,
    "localhost.": True,
    "dripline.localhost": True,
    "[::1]:8000": True,
    "192.168.1.7:8000": True,
    "chat.example.com": True,
    "Chat.Example.com:443": True,
    "evil.example": False,
    "evil.example:8000": False,
    "localhost.evil.example": False,
    "127.0.0.1.evil.example": False,
    "chat.example.com.evil.example": False,
    "localhost@evil.example": False,
    "127.0.0.1:80@evil.example": False,
    "evil.example/localhost": False,
    "127.0.0.1:port": False,
    "": False,
    "[::1": False,
    "ev\u00efl": False,
}


@pytest.mark.parametrize(("host", "allowed"), HOSTS.items())
async def test_dns_rebinding(guarded: Stack, host: str, allowed: bool) -> None:
    """A name that is not the server's own gets nothing, whatever it asks for."""
    headers = {"Host": host, "Authorization": f"Bearer {TOKEN}"}
    for path in ("/", "/health", "/models", "/static/main.js", "/runs/x/events"):
        status, code, _ = await ask(guarded, "GET", path, headers)
        assert (status == 403 and code == "host_not_allowed") is not allowed, path


@pytest.mark.parametrize(
    "lines", ["", "Host: localhost\r\nHost: evil.example\r\n"], ids=["none", "two"]
)
async def test_no_single_host(guarded: Stack, lines: str) -> None:
    """Neither a request without a host nor one with two is answered."""
    port = int(guarded.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET /health HTTP/1.1\r\n{lines}\r\n".encode())
    status = await reader.readline()
    writer.close()
    assert status.split()[1] in (b"400", b"403")


ORIGINS = {
    None: True,
    APP: True,
    "own": True,
    "https own": True,
    "null": False,
    "": False,
    "https://evil.example": False,
    "http://app.example.com": False,
    "https://app.example.com:8443": False,
    "https://app.example.com.evil.example": False,
    "http://127.0.0.1:1": False,
    "file://": False,
}


@pytest.mark.parametrize(("origin", "allowed"), ORIGINS.items())
async def test_pages_from_elsewhere(guarded: Stack, origin: str | None, allowed: bool) -> None:
    """A foreign page starts, reads and stops nothing; a named one does, and can read the answer."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    if origin is not None:
        own = guarded.url.removeprefix("http://")
        headers["Origin"] = {"own": f"http://{own}", "https own": f"https://{own}"}.get(
            origin, origin
        )
    for method, path in (("POST", "/chat"), ("DELETE", "/runs/x"), ("GET", "/runs/x/events")):
        body = {"json": BODY} if method == "POST" else {}
        status, code, response = await ask(guarded, method, path, headers, **body)
        assert (status == 403 and code == "origin_not_allowed") is not allowed, path
        shared = response.headers.get("Access-Control-Allow-Origin")
        assert shared == (APP if origin == APP else None)
        assert response.headers["Vary"] == "Origin"
    assert len(guarded.ollama.chats) == allowed


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""],
)
async def test_a_form_is_no_chat(guarded: Stack, content_type: str) -> None:
    """What a page can post without CORS is not taken, even where no `Origin` gives it away."""
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": content_type}
    data = b'{"messages": [{"role": "user", "content": "Hi"}]}'
    status, code, _ = await ask(guarded, "POST", "/chat", headers, data=data)
    assert (status, code) == (415, "unsupported_media_type")
    assert not guarded.ollama.chats


async def test_preflight(guarded: Stack) -> None:
    """A named origin's page may send what dripline takes, and needs no token to ask."""
    headers = {
        "Origin": APP,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    for path in ("/chat", "/runs/x", "/models"):
        status, _, response = await ask(guarded, "OPTIONS", path, headers)
        assert status == 204
        assert response.headers["Access-Control-Allow-Origin"] == APP
        assert "DELETE" in response.headers["Access-Control-Allow-Methods"]
        allowed = response.headers["Access-Control-Allow-Headers"].lower().split(", ")
        assert {"authorization", "content-type", "last-event-id"} <= set(allowed)
        assert "Access-Control-Allow-Credentials" not in response.headers


async def test_preflight_of_a_foreign_page(guarded: Stack) -> None:
    """It is refused, without a header that a browser would take for a yes."""
    headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "DELETE"}
    status, code, response = await ask(guarded, "OPTIONS", "/chat", headers)
    assert (status, code) == (403, "origin_not_allowed")
    assert not any(name.startswith("Access-Control-Allow") for name in response.headers)


async def test_cors_is_off() -> None:
    """Where no origin is named, no answer says anything of CORS."""
    async with stack(Script("Blue.")) as s:
        status, _, response = await ask(s, "GET", "/models", {"Origin": s.url})
        assert status == 200
        assert not any("Access-Control" in name or name == "Vary" for name in response.headers)


GUARDED = [
    ("POST", "/chat"),
    ("GET", "/models"),
    ("GET", "/metrics"),
    ("GET", "/runs/x"),
    ("GET", "/runs/x/events"),
    ("DELETE", "/runs/x"),
    ("POST", "/"),
    ("GET", "/nothing"),
    ("GET", f"/models?token={TOKEN}"),
]


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer wrong",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        f"Basic {TOKEN}",
        TOKEN,
        f"Bearer {TOKEN.upper()}",
        "Bearer \u00fc",
    ],
)
async def test_without_the_token(guarded: Stack, authorization: str | None) -> None:
    """401, whatever is asked; a token in the address does not count."""
    headers = {} if authorization is None else {"Authorization": authorization}
    for method, path in GUARDED:
        body = {"json": BODY} if method == "POST" else {}
        status, code, response = await ask(guarded, method, path, headers, **body)
        assert (status, code) == (401, "unauthorized"), path
        assert response.headers["WWW-Authenticate"] == "Bearer"
    assert not guarded.ollama.chats


async def test_open_without_the_token(guarded: Stack) -> None:
    """The page has to be there to ask for the token; `/health` says no more than that it lives."""
    for path in ("/", "/static/main.js"):
        status, _, _ = await ask(guarded, "GET", path, {"Accept": "text/html"})
        assert status == 200
    async with guarded.http.get(f"{guarded.url}/health") as response:
        assert await response.json() == {"status": "healthy"}


async def test_the_token_is_never_told(guarded: Stack, caplog: pytest.LogCaptureFixture) -> None:
    """Not in a log, not in an error, not in the settings' repr."""
    caplog.set_level("DEBUG")
    for authorization in (f"Bearer {TOKEN}", f"Bearer  {TOKEN} ", f"bearer {TOKEN}"):
        status, _, response = await ask(guarded, "GET", "/models", {"Authorization": authorization})
        assert status == 200
        assert TOKEN not in await response.text()
    assert TOKEN not in caplog.text
    assert TOKEN not in repr(guarded.server.state.settings)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.168.1.7", "box.local", "127.evil"])
def test_beyond_this_machine(host: str) -> None:
    """Listening where others can reach needs a token, or the word that none is wanted."""
    with pytest.raises(BadSetting, match=r"--host: .*DRIPLINE_TOKEN.*--no-auth"):
        Settings(host=host)
    Settings(host=host, token=TOKEN)
    Settings(host=host, tokens="tokens.toml")
    Settings(host=host, no_auth=True)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_on_this_machine(host: str) -> None:
    """Loopback needs none."""
    Settings(host=host)


async def test_a_token_in_a_broken_request() -> None:
    """Aiohttp quotes what is not HTTP in its log; dripline's log does not."""
    async with command(
        "dripline-server",
        "--port=0",
        "--ollama=http://127.0.0.1:1",
        environment={"DRIPLINE_TOKEN": TOKEN},
    ) as process:
        port = int((await line(process)).rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET / HTTP/1.1\r\nAuthorization: Bearer {TOKEN}\0\r\n\r\n".encode())
        assert b" 400 " in await reader.readline()
        writer.transport.abort()
        process.send_signal(signal.SIGTERM)
        _, logged = await process.communicate()
    assert b"Error handling request" in logged
    assert TOKEN.encode() not in logged


async def test_what_cors_says_joins_what_the_page_says() -> None:
    """The page at `/` varies by `Accept`, with CORS and without."""
    async with stack(Script("Blue."), cors_origins=(APP,)) as s:
        for accept in ("text/html", "application/json"):
            _, _, response = await ask(s, "GET", "/", {"Accept": accept})
            assert response.headers.getall("Vary") == ["Accept", "Origin"]
