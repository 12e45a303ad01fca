"""One configuration for every request to Ollama: address, headers, TLS, redirects, bounds."""

from __future__ import annotations

import asyncio
import gzip
import logging
import socket
import ssl
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import orjson
import pytest
import trustme
from aiohttp import web

from dripline import ChatClient
from dripline_server.app import Server, serve
from dripline_server.settings import BadSetting, Settings, load
from dripline_server.upstream.address import OllamaAddress
from tests.support.stack import user
from tests.support.tcp_server import TcpServer

LINE = b'{"message":{"content":"Hi"},"done":true}\n'
TAGS = {"models": [{"name": "m:latest", "model": "m:latest", "digest": "d"}]}
# Every path that dripline asks Ollama for, as one use of all of it does.
PATHS = {"/api/chat", "/api/tags", "/api/ps", "/api/show", "/api/version"}

Answer = Callable[[web.Request], web.Response | None]


class Upstream:
    """An Ollama that answers all of dripline's requests, and remembers their headers."""

    def __init__(self, answer: Answer = lambda _: None) -> None:
        self.asked: list[web.Request] = []
        self._answer = answer

    async def handle(self, request: web.Request) -> web.Response:
        await request.read()
        self.asked.append(request)
        if response := self._answer(request):
            return response
        path = "/api/" + request.path.rpartition("/api/")[2]
        content = {
            "/api/chat": LINE,
            "/api/tags": orjson.dumps(TAGS),
            "/api/ps": b'{"models": []}',
            "/api/show": b'{"capabilities": ["completion"]}',
            "/api/version": b'{"version": "0.33.0"}',
        }
        return web.Response(body=content[path])

    def header(self, name: str) -> set[str | None]:
        """The values that a header had, over all requests."""
        return {request.headers.get(name) for request in self.asked}


@asynccontextmanager
async def listening(
    upstream: Upstream, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """Have the upstream listen; gives its port."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", upstream.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, 0, ssl_context=tls).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def use_all(server: Server) -> list[str]:
    """Ask for everything; return what went wrong."""
    async with ChatClient(server.url) as client, aiohttp.ClientSession() as http:
        told = []
        async with http.post(f"{server.url}/chat", json={"messages": user("Hi")}) as response:
            body = await response.text()
            if '"content":"Hi"' not in body:
                told.append(body)
        for path in ("health", "models"):
            async with http.get(f"{server.url}/{path}") as response:
                if response.status != 200:
                    told.append(await response.text())
        if not told:
            assert [model.name for model in await client.models()] == ["m:latest"]
    return told


@asynccontextmanager
async def dripline(ollama: str, **settings: object) -> AsyncIterator[Server]:
    options = {"model": "m", "loading_after": 0.0, **settings}
    async with serve(Settings(port=0, ollama=ollama, **options)) as server:  # type: ignore[arg-type]
        yield server


def basic(pair: str) -> str:
    return f"Basic {b64encode(pair.encode()).decode()}"


IDENTITIES: dict[str, tuple[str, dict[str, object], str | None]] = {
    "nobody": ("", {}, None),
    "a user": ("user:hunter2@", {}, basic("user:hunter2")),
    "an escaped password": ("user:hunter2%40%C3%A9%3A@", {}, basic("user:hunter2@é:")),
    "a user alone": ("hunter2@", {}, basic("hunter2:")),
    "a key": ("", {"ollama_api_key": "hunter2"}, "Bearer hunter2"),
    "a user goes before a key": (
        "user:hunter2@",
        {"ollama_api_key": "other"},
        basic("user:hunter2"),
    ),
    "a header goes before all": (
        "user:x@",
        {"ollama_headers": (("authorization", "Token hunter2"),), "ollama_api_key": "other"},
        "Token hunter2",
    ),
}


@pytest.mark.parametrize(("who", "settings", "sent"), IDENTITIES.values(), ids=IDENTITIES)
async def test_every_request_says_who_asks(
    who: str, settings: dict[str, object], sent: str | None
) -> None:
    """Chat, lists and health alike, so that none of them is refused where another is not."""

    def barred(request: web.Request) -> web.Response | None:
        if request.headers.get("Authorization") != sent:
            return web.json_response({"error": "unauthorized"}, status=401)
        return None

    upstream = Upstream(barred)
    async with (
        listening(upstream) as port,
        dripline(f"http://{who}127.0.0.1:{port}", **settings) as server,
    ):
        assert await use_all(server) == []
    assert {request.path for request in upstream.asked} == PATHS
    assert upstream.header("Authorization") == {sent}
    assert upstream.header("Host") == {f"127.0.0.1:{port}"}
    assert upstream.header("Accept-Encoding") == {"identity"}


async def test_headers_are_sent_and_shown_nowhere(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From flags, a file and the environment; not in a log, a repr, a recording or an error."""
    caplog.set_level(logging.DEBUG)
    secrets = tmp_path / "headers"
    secrets.write_text("# ours\nX-One: hunter2 one\n\n  X-Two:hunter2\n")
    records = tmp_path / "records"
    flags = {"ollama_headers": [f"@{secrets}", "Host: box.local", "X-Three: hünter2"]}
    settings = load(flags, {"OLLAMA_API_KEY": " hunter2key ", "DRIPLINE_OLLAMA_HEADERS": "X: y"})
    assert settings.ollama_headers == (
        ("X-One", "hunter2 one"),
        ("X-Two", "hunter2"),
        ("Host", "box.local"),
        ("X-Three", "hünter2"),
    )
    assert "unter2" not in repr(settings)
    assert load({}, {"DRIPLINE_OLLAMA_HEADERS": "A: 1\nB: 2"}).ollama_headers == (
        ("A", "1"),
        ("B", "2"),
    )
    upstream = Upstream()
    told = ""
    async with listening(upstream) as port:
        options = {name: getattr(settings, name) for name in ("ollama_headers", "ollama_api_key")}
        address = f"http://127.0.0.1:{port}"
        async with dripline(address, record=str(records), **options) as server:
            assert await use_all(server) == []
            told += repr(server.state)
    async with dripline("http://127.0.0.1:1", **options) as server:
        told += "".join(await use_all(server))
        assert "No Ollama answers" in told
    assert upstream.header("X-One") == {"hunter2 one"}
    assert upstream.header("X-Three") == {"hünter2"}
    assert upstream.header("Host") == {"box.local"}
    assert upstream.header("Authorization") == {"Bearer hunter2key"}
    [recording] = records.iterdir()
    assert "X-One" in recording.read_text()
    for text in (told, caplog.text, recording.read_text()):
        assert "unter2" not in text


BAD_HEADERS = {
    "no colon": ("hunter2", "`Name: value`"),
    "no name": (": hunter2", "not a header name"),
    "a bad name": ("hunter2 x: y", "not a header name"),
    "a NUL": ("A: hunter2\x00", "A: the value has characters"),
    "a lone surrogate": ("A: hunter2\udcff", "A: the value has characters"),
    "framing": ("Content-Length: 5", "Content-Length: dripline sets this header itself"),
    "another framing": ("transfer-encoding: chunked", "dripline sets this header itself"),
    "no file": ("@/nowhere/hunter2-not", "cannot be read: No such file"),
}


@pytest.mark.parametrize(("text", "words"), BAD_HEADERS.values(), ids=BAD_HEADERS)
def test_a_header_that_cannot_be_sent_is_refused_without_its_value(text: str, words: str) -> None:
    """At the start, and the message says which and why."""
    with pytest.raises(BadSetting, match="--ollama-header") as raised:
        load({"ollama_headers": [text]}, {})
    assert words in str(raised.value)
    assert "hunter2" not in str(raised.value) or text.startswith("@")


def test_a_key_or_an_address_that_cannot_be_is_refused_without_its_secret() -> None:
    with pytest.raises(BadSetting, match="OLLAMA_API_KEY: must be ASCII characters") as raised:
        load({}, {"OLLAMA_API_KEY": "hunter2\nHost: x"})
    assert "hunter2" not in str(raised.value)
    with pytest.raises(BadSetting, match="must be an http") as raised:
        load({"ollama": "ftp://user:hunter2@box"}, {})
    assert "hunter2" not in str(raised.value)
    with pytest.raises(BadSetting, match="without"):
        load({"ollama": "http://box/?key=1"}, {})
    assert "hunter2" not in repr(Settings(ollama="http://user:hunter2@box"))


HOSTS = {
    "http://[::1]:11434": "[::1]:11434",
    "http://[::1]": "[::1]",
    "http://[fe80::1%25eth0]:11434": "[fe80::1]:11434",
    "http://user:pw@[2001:db8::1]:80": "[2001:db8::1]",
    "http://bücher.example:11434": "xn--bcher-kva.example:11434",
    "http://BOX.example": "box.example",
    "https://box.example:443": "box.example",
    "https://box.example:80": "box.example:80",
    "http://box.example:80/ollama": "box.example",
}


@pytest.mark.parametrize(("url", "host"), HOSTS.items(), ids=HOSTS)
def test_the_host_is_written_as_http_has_it(url: str, host: str) -> None:
    """In ASCII, IPv6 in brackets and without a zone, the port where it is not the usual one."""
    address = OllamaAddress(url)
    head = address.head("GET", address.at("/api/tags"), 0)
    assert f"\r\nHost: {host}\r\n".encode() in head
    assert head.startswith(b"GET /ollama/api/tags " if "ollama" in url else b"GET /api/tags ")
    assert head.endswith(b"\r\n\r\n")
    assert head.count(b"\r\n\r\n") == 1


async def test_an_ipv6_address() -> None:
    """Ollama answers an empty 403 to a Host that it does not understand."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no IPv6")
    upstream = Upstream()
    async with listening(upstream, "::1") as port, dripline(f"http://[::1]:{port}") as server:
        assert await use_all(server) == []
    assert upstream.header("Host") == {f"[::1]:{port}"}


async def test_an_international_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes to DNS and into Host in its ASCII form."""
    lookups = []
    getaddrinfo = socket.getaddrinfo

    def local(host: str, *arguments: object, **options: object) -> object:
        lookups.append(host)
        name = "127.0.0.1" if host == "xn--bcher-kva.example" else host
        return getaddrinfo(name, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", local)
    upstream = Upstream()
    async with (
        listening(upstream) as port,
        dripline(f"http://bücher.example:{port}") as server,
    ):
        assert await use_all(server) == []
    assert upstream.header("Host") == {f"xn--bcher-kva.example:{port}"}
    assert "xn--bcher-kva.example" in lookups


def tls_of(ca: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(*names).configure_cert(context)
    return context


async def test_a_ca_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SSL_CERT_FILE is for every request; without it, what to do is told."""
    ca = trustme.CA()
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    upstream = Upstream()
    async with listening(upstream, tls=tls_of(ca, "localhost")) as port:
        async with dripline(f"https://localhost:{port}") as server:
            told = await use_all(server)
        assert len(told) == 3
        assert all("SSL_CERT_FILE" in one for one in told)
        assert upstream.asked == []
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        async with dripline(f"https://user:pw@localhost:{port}") as server:
            assert await use_all(server) == []
        assert upstream.header("Authorization") == {basic("user:pw")}
        async with dripline(f"https://127.0.0.1:{port}") as server:  # not the certificate's name
            told = await use_all(server)
        assert len(told) == 3
        assert all("not valid for '127.0.0.1'. If" in one for one in told)


def redirect(status: int, to: Callable[[web.Request], str]) -> Answer:
    """Answer with a redirect, but below /moved."""

    def answer(request: web.Request) -> web.Response | None:
        if request.path.startswith("/moved"):
            return None
        return web.Response(status=status, headers={"Location": to(request)})

    return answer


@pytest.mark.parametrize("status", [307, 308])
@pytest.mark.parametrize("whole", [True, False])
async def test_a_redirect_to_the_same_host_is_followed(status: int, whole: bool) -> None:
    """With method, body and credentials."""

    def to(request: web.Request) -> str:
        path = f"/moved{request.path}"
        return f"http://{request.host}{path}" if whole else path

    upstream = Upstream(redirect(status, to))
    async with (
        listening(upstream) as port,
        dripline(f"http://user:pw@127.0.0.1:{port}") as server,
    ):
        assert await use_all(server) == []
    moved = [request for request in upstream.asked if request.path.startswith("/moved")]
    assert {request.path.removeprefix("/moved") for request in moved} == PATHS
    assert upstream.header("Authorization") == {basic("user:pw")}
    bodies = [await request.read() for request in moved if request.path.endswith("/chat")]
    assert all(orjson.loads(body)["model"] == "m" for body in bodies)


async def test_a_redirect_to_https_of_the_host_is_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And one back to http is not."""
    ca = trustme.CA()
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    secure = Upstream()
    async with listening(secure, tls=tls_of(ca, "localhost")) as port:
        plain = Upstream(redirect(308, lambda r: f"https://localhost:{port}{r.path}"))
        async with (
            listening(plain) as plain_port,
            dripline(f"http://user:pw@localhost:{plain_port}") as server,
        ):
            assert await use_all(server) == []
    assert secure.header("Authorization") == {basic("user:pw")}
    back = Upstream(redirect(308, lambda r: f"http://localhost:{plain_port}{r.path}"))
    async with (
        listening(back, tls=tls_of(ca, "localhost")) as port,
        dripline(f"https://localhost:{port}") as server,
    ):
        told = await use_all(server)
    assert len(told) == 3
    assert all(f"(308) to http://localhost:{plain_port}/" in one for one in told)


NOT_FOLLOWED = {
    "301": (301, "/moved{path}"),
    "302": (302, "/moved{path}"),
    "303": (303, "/moved{path}"),
    "another host": (307, "http://localhost:{other}{path}"),
    "another port": (307, "http://127.0.0.1:{other}{path}"),
    "another scheme": (307, "file:///etc/passwd"),
    "no address": (307, "http://[oops"),
    "no scheme": (307, "//localhost:{other}{path}"),
    "a loop": (307, "{path}"),
}


@pytest.mark.parametrize(("status", "to"), NOT_FOLLOWED.values(), ids=NOT_FOLLOWED)
async def test_other_redirects_are_told_and_never_followed(status: int, to: str) -> None:
    """Nobody else gets a request, and so nobody gets credentials."""
    other = Upstream()
    async with listening(other) as other_port:

        def target(request: web.Request) -> str:
            return to.format(path=request.path, other=other_port)

        upstream = Upstream(redirect(status, target))
        async with (
            listening(upstream) as port,
            dripline(f"http://user:hunter2@127.0.0.1:{port}") as server,
        ):
            told = await use_all(server)
    assert len(told) == 3
    shown = to.format(path="", other=other_port)
    for one in told:
        assert f"redirects ({status}) to {shown}" in one
        assert "--ollama" in one
        assert "hunter2" not in one
    assert other.asked == []


async def test_what_is_compressed_is_named_and_not_unpacked() -> None:
    """A megabyte that is a gigabyte inside takes neither memory nor time."""
    bomb = gzip.compress(bytes(2**28), 1)

    def compressed(request: web.Request) -> web.Response:
        return web.Response(body=bomb, headers={"Content-Encoding": "gzip"})

    upstream = Upstream(compressed)
    began = time.monotonic()
    async with listening(upstream) as port, dripline(f"http://127.0.0.1:{port}") as server:
        told = await use_all(server)
    assert time.monotonic() - began < 10
    assert len(told) == 3
    assert all("it is compressed (gzip)" in one for one in told)


async def test_a_list_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """In bytes, in values and in time; health answers all the while."""
    monkeypatch.setattr("dripline_server.upstream.ollama.INFO_TIMEOUT", 0.5)
    values = b'{"models":[' + b"[]," * 500_000 + b"[]]}"
    for body, words in (
        (b'{"models":"' + b"x" * 2**23 + b'"}', "longer than 4,194,304 bytes"),
        (values, "more bytes than a list of models can have"),
    ):
        upstream = Upstream(lambda _, body=body: web.Response(body=body))  # type: ignore[misc]
        async with listening(upstream) as port, dripline(f"http://127.0.0.1:{port}") as server:
            told = await use_all(server)
        assert all(words in one for one in told[1:]), told

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with (
        TcpServer(silent) as slow,
        dripline(slow.url) as server,
        aiohttp.ClientSession() as http,
        http.get(f"{server.url}/models") as response,
    ):
        assert response.status == 503
        assert "/api/tags has no answer after 0.5 s" in await response.text()
