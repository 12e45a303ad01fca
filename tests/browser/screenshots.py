"""Makes the documentation's pictures of the page, from real chats with the demo models.

`make screenshots` takes them all; `python -m tests.browser.screenshots FOLDER NAME...` takes some.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from playwright.async_api import Browser

from dripline.testing import demo_models
from tests.support.browser import chat_server, chromium, open_page


@dataclass(frozen=True, slots=True)
class Picture:
    """Chats to be photographed.

    Attributes:
        name: The file's name.
        chats: What is asked in each chat, one message after another; the last chat shows.
        model: The model that answers.
        scheme: "light" or "dark".
        width: The window's width, in CSS pixels.
        height: Its height.
        press: The selector of what to press at the end, "" for nothing.
    """

    name: str
    chats: Sequence[Sequence[str]]
    model: str = "demo:latest"
    scheme: str = "light"
    width: int = 1080
    height: int = 640
    press: str = ""


SKY = "Why is the sky blue?"
WHO = "Who are you?"
CODE = "Show me some Python code"
JOKE = "Tell me a joke"
GREEN = "Change color to light green"
BUTTON = f"Add a button that says {JOKE}"
OLDER = ((JOKE,), ("How do streams work?",))
PICTURES = (
    Picture("light", (*OLDER, (CODE,), (SKY, WHO))),
    Picture("dark", (*OLDER, (CODE,), (SKY, WHO)), scheme="dark"),
    Picture("code", (*OLDER, (SKY,), (CODE,))),
    Picture("thinking", ((SKY,),), model="demo-thinking:latest", press=".thinking summary"),
    Picture("theme", (*OLDER, (CODE,), (GREEN, BUTTON, SKY))),
    Picture("error", ((SKY,),), model="demo-broken:latest"),
    Picture("phone", ((SKY, BUTTON),), width=390, height=760),
)


async def _take(browser: Browser, url: str, picture: Picture, folder: Path) -> Path:
    """Hold the chats, take the picture, and return where that is."""
    dark = picture.scheme == "dark"
    async with open_page(
        browser,
        url,
        viewport={"width": picture.width, "height": picture.height},
        color_scheme="dark" if dark else "light",
        device_scale_factor=1.25,
        reduced_motion="reduce",
    ) as chat:
        await chat.model.select_option(picture.model)
        for number, messages in enumerate(picture.chats):
            if number > 0:
                await chat.page.get_by_role("button", name="New chat").click()
            for count, message in enumerate(messages, start=1):
                await chat.ask(message)
                await chat.wait_answered(count)
        if picture.press:
            await chat.page.locator(picture.press).click()
        await chat.page.mouse.move(picture.width / 2, 4)  # over nothing
        path = folder / f"{picture.name}.png"
        await chat.page.screenshot(path=path)
        return path


async def take(pictures: Sequence[Picture], folder: Path) -> list[Path]:
    """Take pictures into a folder that exists, and return where they are."""
    async with chromium() as browser, chat_server(demo_models()) as (_, server):
        return [await _take(browser, server.url, picture, folder) for picture in pictures]


def main() -> None:
    """Run the command."""
    if len(sys.argv) < 2:
        sys.exit("usage: python -m tests.browser.screenshots FOLDER [NAME...]")
    folder, names = Path(sys.argv[1]), sys.argv[2:]
    folder.mkdir(parents=True, exist_ok=True)
    wanted = [picture for picture in PICTURES if not names or picture.name in names]
    for path in asyncio.run(take(wanted, folder)):
        sys.stdout.write(f"{path}: {path.stat().st_size // 1024} KiB\n")


if __name__ == "__main__":
    main()
