"""A client can name its run, and so ask twice: it is one run, and one generation."""

from __future__ import annotations

import asyncio
from typing import Any

from dripline_server.fake_ollama import Pace, Script
from tests.support.stack import Stack, stack, user

NAME = "named-by-the-page-itself"
SLOW = Script(["One", " two"], Pace(first_token=0.05, tokens_per_second=50))


async def post(s: Stack, **fields: Any) -> tuple[int, str, bytes]:
    """Ask, and read the whole answer."""
    body = {"messages": user("Hi"), "run_id": NAME, **fields}
    async with s.http.post(f"{s.url}/chat", json=body) as response:
        return response.status, response.headers.get("X-Run-Id", ""), await response.read()


async def test_asking_twice_is_one_run() -> None:
    """At once and after the end: the same events each time, and Ollama was asked once."""
    async with stack(SLOW) as s:
        answers = [*await asyncio.gather(*(post(s) for _ in range(5))), await post(s)]
        assert {(status, name) for status, name, _ in answers} == {(200, NAME)}
        assert len({body for _, _, body in answers}) == 1
        assert b'"status":"completed"' in answers[0][2]
        assert len(s.ollama.chats) == 1
        assert await post(s, run_id=f"{NAME}-2") != answers[0]
        assert len(s.ollama.chats) == 2


async def test_a_named_run_can_be_stopped_by_its_name() -> None:
    """The client knows the name before the server has answered."""
    async with stack(Script(["word "] * 1000, Pace(tokens_per_second=20))) as s:
        asking = asyncio.create_task(post(s))
        await s.ollama.wait_for_request()
        async with s.http.delete(f"{s.url}/runs/{NAME}") as response:
            assert response.status == 202
        assert b'"status":"cancelled"' in (await asking)[2]


async def test_names_that_could_be_guessed_are_refused() -> None:
    """Knowing the name is the right to read and stop the run."""
    async with stack(SLOW) as s:
        for name in ("", "short", "x" * 21, "x" * 65, "has/slashes/in/the/middle", "ü" * 22, 5):
            status, _, body = await post(s, run_id=name)
            assert status == 400, name
            assert b"run_id" in body
        assert s.ollama.chats == []
