"""Makes the documentation's pictures of the page, from real chats with the demo models.

Run it as `python -m tests.browser.screenshots FOLDER`.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from playwright.async_api import Browser

from dripline_server.fake_ollama import demo_models
from tests.support.browser import chat_server, chromium, open_page


@dataclass(frozen=True, slots=True)
class Picture:
    """A chat to be photographed.

    Attributes:
        name: The file's name.
        messages: What is asked, one after another.
        model: The model that answers.
        scheme: "light" or "dark".
        width: The window's width, in CSS pixels.
        height: Its height.
    """

    name: str
    messages: Sequence[str]
    model: str = "demo:latest"
    scheme: str = "light"
    width: int = 960
    height: int = 660


SKY = "Why is the sky blue?"
GREEN = "Change color to light green"
BUTTON = "Add a button that says Tell me a joke"
PICTURES = (
    Picture("welcome", ()),
    Picture("light", (SKY, "Who are you?")),
    Picture("dark", (SKY, "Who are you?"), scheme="dark"),
    Picture("theme", (GREEN, BUTTON, SKY), height=700),
    Picture("thinking", (SKY,), model="demo-thinking:latest", scheme="dark"),
    Picture("error", (SKY,), model="demo-broken:latest"),
    Picture("phone", (SKY, BUTTON), width=390, height=760),
)


async def _take(browser: Browser, url: str, picture: Picture, folder: Path) -> Path:
    """Hold the chat, take its picture, and return where that is."""
    dark = picture.scheme == "dark"
    async with open_page(
        browser,
        url,
        viewport={"width": picture.width, "height": picture.height},
        color_scheme="dark" if dark else "light",
        device_scale_factor=1.5,
        reduced_motion="reduce",
    ) as chat:
        await chat.model.select_option(picture.model)
        for count, message in enumerate(picture.messages, start=1):
            await chat.ask(message)
            await chat.wait_answered(count)
        path = folder / f"{picture.name}.png"
        await chat.page.screenshot(path=path)
        return path


async def take_all(folder: Path) -> list[Path]:
    """Take every picture into a folder that exists, and return where they are."""
    async with chromium() as browser, chat_server(demo_models()) as (_, server):
        return [await _take(browser, server.url, picture, folder) for picture in PICTURES]


def main() -> None:
    """Run the command."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -m tests.browser.screenshots FOLDER")
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for path in asyncio.run(take_all(folder)):
        sys.stdout.write(f"{path}: {path.stat().st_size // 1024} KiB\n")


if __name__ == "__main__":
    main()
