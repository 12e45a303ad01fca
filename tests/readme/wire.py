"""What goes over the wire: the request, the answer, and how it may be cut."""

from __future__ import annotations

import re
from pathlib import Path

from dripline import EventDecoder
from dripline.testing import Script
from tests.readme.blocks import Block, only
from tests.support.stack import stack

JSON = {"Content-Type": "application/json"}


async def send_request(block: Block, _: Path) -> None:
    """The server takes it, and answers with a whole stream."""
    assert '"status":"completed"' in await _answer(block)


async def compare_answer(block: Block, _: Path) -> None:
    """It is what the server sends for the request, but for the run's name and the figures."""
    answer = await _answer(only("json"))
    assert _without_chance(block.text + "\n") == _without_chance(answer)
    assert [event.id for event in EventDecoder().feed(answer.encode())] == list("1234")


async def _answer(request: Block) -> str:
    async with (
        stack({"mistral": Script(["Done"])}) as s,
        s.http.post(f"{s.url}/chat", data=request.text, headers=JSON) as response,
    ):
        assert response.status == 200, await response.text()
        assert response.content_type == "text/event-stream"
        return await response.text()


def _without_chance(frames: str) -> str:
    named = re.sub(r'"run_id":"[^"]+"', '"run_id":"..."', frames)
    return re.sub(r"(_(?:tokens|time)\":)[\d.]+", r"\1#", named)


async def cut_in_two(block: Block, _: Path) -> None:
    """Its two chunks are what is sent, cut within a character; the decoder gets it back."""
    sent, first, second = (
        re.split(r"  +", line)[1].replace("⏎", "\n") for line in block.text.splitlines() if line
    )
    whole = sent.encode()
    at = len(first.removesuffix("�").encode()) + 1
    chunks = [whole[:at], whole[at:]]
    assert [chunk.decode("utf-8", "replace") for chunk in chunks] == [first, second]
    decoder = EventDecoder()
    (event,) = (event for chunk in chunks for event in decoder.feed(chunk))
    assert event.data == sent.removeprefix("data: ").strip()
