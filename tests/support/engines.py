"""The browsers that Playwright cannot drive as they come from Debian: Firefox and WebKitGTK.

Firefox speaks WebDriver BiDi itself, WebKit's driver the older WebDriver. Tests need little of
both, and so this has little: one page in a fresh profile, its scripts, its keys, its picture.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import os
import re
from abc import ABC, abstractmethod
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp
from playwright.async_api import Page

from tests.support.browser import PATIENCE, chromium
from tests.support.free_port import free_port
from tests.support.processes import EMPTY
from tests.support.programs import require_program

ENGINES = ("chromium", "firefox", "webkit")
SIZE = (1100, 760)

# As WebDriver names the keys that have no character.
KEYS = {
    "Enter": "\ue007",
    "Escape": "\ue00c",
    "Shift": "\ue008",
    "ArrowUp": "\ue013",
    "Tab": "\ue004",
}


class EngineFault(Exception):
    """A browser, or a script in its page, failed."""


class Engine(ABC):
    """A page in one of the browsers."""

    @abstractmethod
    async def open(self, url: str) -> None:
        """Load an address."""

    @abstractmethod
    async def reload(self) -> None:
        """Load it anew."""

    @abstractmethod
    async def call(self, function: str, *arguments: object) -> Any:
        """Call a JavaScript function in the page, and return what it returns, as JSON has it.

        Args:
            function: Its source; it may be `async`.
            arguments: What it is called with.

        Raises:
            EngineFault: It threw.
        """

    @abstractmethod
    async def press(self, *keys: str) -> None:
        """Press keys together and let them go; each is a character, or a name in `KEYS`."""

    @abstractmethod
    async def picture(self) -> bytes:
        """What is seen, as PNG."""

    async def type(self, text: str) -> None:
        """Press the keys of a text, one after another."""
        for character in text:
            await self.press(character)

    async def wait_for(self, condition: str) -> None:
        """Wait until a JavaScript expression holds, looked at in each frame.

        Raises:
            EngineFault: It still does not; the message has the page's text.
        """
        wait = f"async () => {{ while (!({condition})) await new Promise(requestAnimationFrame) }}"
        try:
            async with asyncio.timeout(PATIENCE / 1000):
                await self.call(wait)
        except TimeoutError:
            text = await self.call("() => document.body.innerText")
            raise EngineFault(f"{condition} does not come true; the page says: {text}") from None


@asynccontextmanager
async def engine(name: str) -> AsyncIterator[Engine]:
    """Run one of `ENGINES`; skips or fails where it is not installed."""
    makers = {"chromium": _chromium, "firefox": _firefox, "webkit": _webkit}
    async with makers[name]() as page:
        yield page


class _PlaywrightPage(Engine):
    def __init__(self, page: Page) -> None:
        self._page = page

    async def open(self, url: str) -> None:
        await self._page.goto(url)

    async def reload(self) -> None:
        await self._page.reload()

    async def call(self, function: str, *arguments: object) -> Any:
        return await self._page.evaluate(f"(all) => ({function})(...all)", list(arguments))

    async def press(self, *keys: str) -> None:
        await self._page.keyboard.press("+".join(keys))

    async def picture(self) -> bytes:
        return await self._page.screenshot()


@asynccontextmanager
async def _chromium() -> AsyncIterator[Engine]:
    width, height = SIZE
    async with chromium() as browser:
        yield _PlaywrightPage(await browser.new_page(viewport={"width": width, "height": height}))


class _BidiPage(Engine):
    """Firefox, over the WebSocket that it listens on."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._ids = itertools.count(1)
        self._context = ""

    async def begin(self) -> None:
        """Begin the session, and find the page."""
        await self._send("session.new", capabilities={})
        tree = await self._send("browsingContext.getTree")
        self._context = tree["contexts"][0]["context"]
        width, height = SIZE
        await self._send(
            "browsingContext.setViewport",
            context=self._context,
            viewport={"width": width, "height": height},
        )

    async def open(self, url: str) -> None:
        await self._send(
            "browsingContext.navigate", context=self._context, url=url, wait="complete"
        )

    async def reload(self) -> None:
        await self._send("browsingContext.reload", context=self._context, wait="complete")

    async def call(self, function: str, *arguments: object) -> Any:
        given = {"type": "string", "value": json.dumps(arguments)}
        answer = await self._send(
            "script.callFunction",
            functionDeclaration=f"async (all) => "
            f"JSON.stringify(await ({function})(...JSON.parse(all)) ?? null)",
            arguments=[given],
            awaitPromise=True,
            target={"context": self._context},
        )
        if answer["type"] == "exception":
            raise EngineFault(answer["exceptionDetails"]["text"])
        return json.loads(answer["result"]["value"])

    async def press(self, *keys: str) -> None:
        actions = [{"type": "key", "id": "keys", "actions": _strokes(keys)}]
        await self._send("input.performActions", context=self._context, actions=actions)

    async def picture(self) -> bytes:
        answer = await self._send("browsingContext.captureScreenshot", context=self._context)
        return base64.b64decode(answer["data"])

    async def _send(self, method: str, **parameters: object) -> Any:
        id_ = next(self._ids)
        await self._socket.send_json({"id": id_, "method": method, "params": parameters})
        while True:
            # Events, and the answers to what was given up, come in between.
            answer = await self._socket.receive_json()
            if answer.get("id") == id_:
                if answer["type"] == "error":
                    raise EngineFault(f"{method}: {answer['message']}")
                return answer["result"]


@asynccontextmanager
async def _firefox() -> AsyncIterator[Engine]:
    program = require_program("firefox")
    async with AsyncExitStack() as stack:
        profile = stack.enter_context(TemporaryDirectory(ignore_cleanup_errors=True))
        arguments = [
            "--headless",
            "--profile",
            profile,
            "--no-remote",
            "--remote-debugging-port",
            "0",
        ]
        says = rb"WebDriver BiDi listening on (ws://\S+)"
        url = await stack.enter_async_context(
            _running(program, *arguments, says=says, environment={"HOME": profile})
        )
        http = await stack.enter_async_context(aiohttp.ClientSession())
        socket = await stack.enter_async_context(
            http.ws_connect(f"{url}/session", max_msg_size=64 * 2**20)
        )
        page = _BidiPage(socket)
        await page.begin()
        yield page


class _WebDriverPage(Engine):
    """WebKit, over its driver's HTTP."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self._http = http
        self._url = url

    async def begin(self) -> None:
        """Begin the session, as soon as the driver listens."""
        wanted = {"alwaysMatch": {"webkitgtk:browserOptions": {"args": ["--automation"]}}}
        while True:
            try:
                session = await self._send("POST", "/session", capabilities=wanted)
                break
            except aiohttp.ClientConnectorError:
                await asyncio.sleep(0.05)  # nothing says when it listens
        self._url += f"/session/{session['sessionId']}"
        width, height = SIZE
        await self._send("POST", "/window/rect", width=width, height=height)
        await self._send("POST", "/timeouts", script=PATIENCE)

    async def open(self, url: str) -> None:
        await self._send("POST", "/url", url=url)

    async def reload(self) -> None:
        await self._send("POST", "/refresh")

    async def call(self, function: str, *arguments: object) -> Any:
        script = (
            "const [all, done] = arguments;"
            f"(async () => JSON.stringify(await ({function})(...JSON.parse(all)) ?? null))()"
            ".then((value) => done({ value }), (error) => done({ error: String(error) }))"
        )
        answer = await self._send(
            "POST", "/execute/async", script=script, args=[json.dumps(arguments)]
        )
        if "error" in answer:
            raise EngineFault(answer["error"])
        return json.loads(answer["value"])

    async def press(self, *keys: str) -> None:
        actions = [{"type": "key", "id": "keys", "actions": _strokes(keys)}]
        await self._send("POST", "/actions", actions=actions)

    async def picture(self) -> bytes:
        return base64.b64decode(await self._send("GET", "/screenshot"))

    async def end(self) -> None:
        """Close the browser."""
        await self._send("DELETE", "")

    async def _send(self, method: str, path: str, **body: object) -> Any:
        given = None if method == "GET" else body
        async with self._http.request(method, self._url + path, json=given) as response:
            value = (await response.json())["value"]
        if response.status != 200:
            raise EngineFault(f"{path}: {value['error']}: {value['message']}")
        return value


@asynccontextmanager
async def _webkit() -> AsyncIterator[Engine]:
    driver, xvfb = require_program("WebKitWebDriver"), require_program("Xvfb")
    async with AsyncExitStack() as stack:
        home = stack.enter_context(TemporaryDirectory(ignore_cleanup_errors=True))
        width, height = SIZE
        screen = ["-screen", "0", f"{width + 40}x{height + 80}x24", "-nolisten", "tcp"]
        display = await stack.enter_async_context(
            _running(xvfb, *screen, "-displayfd", "2", says=rb"^(\d+)\n")
        )
        port = free_port()
        environment = {
            "DISPLAY": f":{display}",
            "HOME": home,
            "XDG_CACHE_HOME": f"{home}/cache",
            "XDG_DATA_HOME": f"{home}/data",
            # There is no GPU.
            "WEBKIT_DISABLE_COMPOSITING_MODE": "1",
            "LIBGL_ALWAYS_SOFTWARE": "1",
        }
        await stack.enter_async_context(_running(driver, f"--port={port}", environment=environment))
        http = await stack.enter_async_context(aiohttp.ClientSession())
        page = _WebDriverPage(http, f"http://127.0.0.1:{port}")
        await page.begin()
        stack.push_async_callback(page.end)
        yield page


def _strokes(keys: tuple[str, ...]) -> list[dict[str, str]]:
    values = [KEYS.get(key, key) for key in keys]
    down = [{"type": "keyDown", "value": value} for value in values]
    return [*down, *({"type": "keyUp", "value": value} for value in reversed(values))]


@asynccontextmanager
async def _running(
    program: str,
    *arguments: str,
    says: bytes = b"",
    environment: Mapping[str, str] = EMPTY,
) -> AsyncIterator[str]:
    """Run a program; yields the group of the pattern that it says on standard error first."""
    process = await asyncio.create_subprocess_exec(
        program,
        *arguments,
        env={**os.environ, **environment},
        stdin=DEVNULL,
        stdout=DEVNULL,
        stderr=PIPE,
    )
    assert process.stderr
    reading: asyncio.Task[None] | None = None
    try:
        async with asyncio.timeout(PATIENCE / 1000):
            found = await _said(process.stderr, says) if says else ""
        # A full pipe would stop it.
        reading = asyncio.create_task(_read_away(process.stderr))
        yield found
    finally:
        if process.returncode is None:
            process.terminate()
        try:
            async with asyncio.timeout(10):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
        if reading is not None:
            reading.cancel()
            await asyncio.wait([reading])


async def _said(output: asyncio.StreamReader, pattern: bytes) -> str:
    said = b""
    while line := await output.readline():
        said += line
        if found := re.search(pattern, said, re.MULTILINE):
            return found[1].decode()
    raise EngineFault(f"a browser ended: {said.decode(errors='replace')}")


async def _read_away(output: asyncio.StreamReader) -> None:
    while await output.read(65536):
        pass
