"""The page in a real browser: headless Chromium, driven as a person would drive it."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from playwright.async_api import (
    Browser,
    ConsoleMessage,
    Locator,
    Page,
    Route,
    async_playwright,
    expect,
)

from dripline.testing import (
    FakeOllama,
    ReceivedRequest,
    Script,
)
from dripline_server.app import Server, serve
from dripline_server.settings import Settings
from tests.support.programs import require_program
from tests.support.tcp_server import TcpServer

PATIENCE = 60_000  # in milliseconds; machines may be slow
expect.set_options(timeout=PATIENCE)

ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Run Chromium; skips or fails where it is not installed."""
    path = require_program("chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=path, args=ARGUMENTS, timeout=PATIENCE
        )
        try:
            yield browser
        finally:
            await browser.close()


@dataclass(frozen=True, slots=True)
class ChatPage:
    """The page, and what it complained of.

    Attributes:
        page: The page as Playwright has it.
        complaints: Console errors and warnings, and uncaught exceptions; CSP violations are among
            them.
        pardoned: Patterns of complaints that may come and need not; at first, that a test's server
            has gone before its page.
    """

    page: Page
    complaints: list[str] = field(default_factory=list)
    pardoned: list[str] = field(default_factory=lambda: ["net::ERR_CONNECTION_"])

    @property
    def message(self) -> Locator:
        return self.page.get_by_role("textbox", name="Message")

    @property
    def model(self) -> Locator:
        return self.page.get_by_role("combobox", name="Model")

    @property
    def stop(self) -> Locator:
        return self.page.get_by_role("button", name="Stop")

    @property
    def questions(self) -> Locator:
        return self.page.get_by_role("article", name="You")

    @property
    def answers(self) -> Locator:
        return self.page.get_by_role("article", name="Answer")

    @property
    def text(self) -> Locator:
        """The text of the last answer."""
        return self.answers.last.locator(".text")

    @property
    def problem(self) -> Locator:
        """What went wrong with the last answer, or with the page as a whole."""
        return self.page.get_by_role("alert").last

    async def open(self, url: str) -> None:
        """Load the page, and wait until it knows its models: before, it may not hear keys yet."""
        await self.page.goto(url)
        known = self.page.locator("#model:enabled, #trouble > *")
        await expect(known).not_to_have_count(0)

    async def new_tab(self, url: str) -> ChatPage:
        """Open another tab of the same browser; its complaints are nobody's."""
        tab = ChatPage(await self.page.context.new_page())
        await tab.open(url)
        return tab

    async def hold(self, url: str) -> asyncio.Event:
        """Hold the page's requests back until the event is set.

        Args:
            url: The requests' address, as a glob.
        """
        free = asyncio.Event()

        async def hold(route: Route) -> None:
            await free.wait()
            await route.continue_()

        await self.page.route(url, hold)
        return free

    async def ask(self, text: str) -> None:
        """Type a message and press Enter."""
        await self.message.fill(text)
        await self.message.press("Enter")

    async def do_with_chat(self, action: str, title: str) -> None:
        """Press the "Rename" or "Delete" of a chat in the list; the pointer shows it."""
        item = self.page.locator("#chats li").filter(has_text=title)
        await item.hover()
        await item.get_by_role("button", name=f"{action} {title}").click()

    async def wait_text(self, text: str) -> None:
        """Wait until the last answer's text is exactly this."""
        # An answer without text has no element for it.
        place = self.text if text else self.answers.last.locator(".body")
        # Unlike `to_have_text`, for which all white space is the same.
        await expect(place).to_have_js_property("textContent", text)

    async def wait_answered(self, count: int = 1) -> None:
        """Wait until there are so many answers, and the last is over."""
        await expect(self.answers).to_have_count(count)
        await expect(self.answers.last).to_have_attribute("aria-busy", "false")

    async def stored(self) -> list[dict[str, Any]]:
        """The messages of the open chat, as the browser keeps them, in the order shown."""
        messages: list[dict[str, Any]] = await self.page.evaluate(
            """async () => {
                const { openDatabase } = await import("/static/store/database.js");
                const { Tree } = await import("/static/chat/conversation.js");
                const database = await openDatabase(() => {});
                const { conversation, messages } = await database.read(location.hash.slice(1));
                return new Tree(messages).path(conversation.leaf);
            }"""
        )
        return messages

    async def reload(self) -> None:
        """Load the page anew, once the browser has kept what was said: a reload may come sooner."""
        await self.page.evaluate(
            """async () => {
                const { openDatabase } = await import("/static/store/database.js");
                const database = await openDatabase(() => {});
                await database.removeMessage(""); // begins once all before it is kept
            }"""
        )
        await self.page.reload()

    async def stop_time(self) -> None:
        """Have the page's timers wait: what it says for a while stays until its clock is run."""
        await self.page.clock.install()
        await self.page.clock.pause_at(datetime.now(UTC) + timedelta(hours=1))

    async def wait_for(self, condition: str) -> None:
        """Wait until a JavaScript expression holds, looked at in each frame.

        Raises:
            TimeoutError: It still does not.
        """
        # Not `wait_for_function`, which needs `eval`: the page's CSP forbids it.
        async with asyncio.timeout(PATIENCE / 1000):
            await self.page.evaluate(
                f"async () => {{ while (!({condition})) await new Promise(requestAnimationFrame) }}"
            )

    @property
    def faults(self) -> list[str]:
        """The complaints that are not pardoned."""
        pardoned = re.compile("|".join(self.pardoned))
        return [said for said in self.complaints if not pardoned.search(said)]

    def expect_complaints(self, text: str) -> None:
        """Take back the complaints that a test is about; there must be one.

        Raises:
            AssertionError: There is none.
        """
        others = [complaint for complaint in self.complaints if text not in complaint]
        assert len(others) < len(self.complaints), f"no complaint about {text!r}"
        self.complaints[:] = others

    async def answer_with(self, *events: object, **response: Any) -> None:
        """Have the browser answer `POST /chat` itself: the events, and then EOF.

        Args:
            events: Each the data of a frame; what is not a string becomes JSON.
            response: Instead of them, what `Route.fulfill` takes.
        """
        frames = (event if isinstance(event, str) else json.dumps(event) for event in events)
        body = "".join(f"id: {seq}\ndata: {data}\n\n" for seq, data in enumerate(frames, start=1))

        async def fulfill(route: Route) -> None:
            await route.fulfill(**(response or {"content_type": "text/event-stream", "body": body}))

        await self.page.route("**/chat", fulfill)


@asynccontextmanager
async def open_page(
    browser: Browser, url: str, *, script: str = "", **context: Any
) -> AsyncIterator[ChatPage]:
    """Open the page in a profile of its own, and wait until it knows its models.

    Args:
        browser: The browser.
        url: Where the server is.
        script: What runs before the page's own scripts.
        context: What `Browser.new_context` takes.
    """
    async with await browser.new_context(**context) as profile:
        profile.set_default_timeout(PATIENCE)
        await profile.add_init_script(script)
        opened = ChatPage(await profile.new_page())

        def note(message: ConsoleMessage) -> None:
            said = f"{message.text} ({message.location['url']})"
            if message.type in ("error", "warning"):
                opened.complaints.append(said)

        opened.page.on("console", note)
        opened.page.on("pageerror", lambda error: opened.complaints.append(str(error)))
        await opened.open(url)
        yield opened


@asynccontextmanager
async def chat_server(
    models: Mapping[str, Script] | Script,
    *,
    clock: Any = None,
    registry: Any = None,
    **settings: Any,
) -> AsyncIterator[tuple[FakeOllama, Server]]:
    """Run a fake Ollama and a server; a single script is the model `story`."""
    if isinstance(models, Script):
        models = {"story": models}
    async with (
        FakeOllama(models, clock=clock, registry=registry) as ollama,
        serve(Settings(**{"port": 0, "ollama": ollama.url, **settings})) as server,
    ):
        yield ollama, server


def body_of(request: ReceivedRequest) -> Any:
    """The JSON that Ollama was sent."""
    return request.body


class Relay(TcpServer):
    """A TCP relay to a server, whose connections can be reset, and which can go and come back."""

    def __init__(self, url: str) -> None:
        super().__init__(self._relay)
        self.lead_to(url)

    def lead_to(self, url: str) -> None:
        """Lead new connections to a server."""
        self._target = url.removeprefix("http://").split(":")

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(*self._target)
        try:
            await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))
        finally:
            far_writer.transport.abort()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
    except (ConnectionError, OSError):
        writer.transport.abort()
