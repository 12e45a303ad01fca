"""A client can name its run, and so ask twice: it is one run, and one generation."""

from __future__ import annotations

import asyncio
from typing import Any

from dripline.testing import Fault, Pace, Script
from dripline_server.app import serve
from dripline_server.run_log import FoundRun
from tests.support.redis_server import redis_server
from tests.support.stack import Stack, stack, user

NAME = "named-by-the-page-itself"
SLOW = Script(["One", " two"], Pace(first_token=0.05, tokens_per_second=50))


async def post(s: Stack, url: str = "", **fields: Any) -> tuple[int, str, bytes]:
    """Ask, of another server where one is named, and read the whole answer."""
    body = {"messages": user("Hi"), "run_id": NAME, **fields}
    async with s.http.post(f"{url or s.url}/chat", json=body) as response:
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


async def test_asking_two_servers_is_one_run() -> None:
    """At once, and after the end: who comes second is a reader of the first one's run."""
    with redis_server() as redis:
        async with (
            stack(SLOW, run_log=redis.url) as s,
            serve(s.server.state.settings) as twin,
        ):
            urls = [s.url, twin.url]
            for nth in range(1, 11):
                name = f"{NAME}-{nth}"
                both = await asyncio.gather(*(post(s, url, run_id=name) for url in urls * 2))
                later = [await post(s, url, run_id=name) for url in urls]
                assert {(status, named) for status, named, _ in (*both, *later)} == {(200, name)}
                assert len({body for _, _, body in (*both, *later)}) == 1
                assert len(s.ollama.chats) == nth
                states = [await s.http.get(f"{url}/runs/{name}") for url in urls]
                assert [(await state.json())["status"] for state in states] == ["ended", "ended"]


async def test_asking_again_for_a_run_that_was_stopped_or_failed() -> None:
    """Its ending is told again: nothing is asked of Ollama a second time."""
    async with stack(Script(["One"], fault=Fault.error("boom", at_token=1))) as s:
        first = await post(s)
        assert b'"status":"failed"' in first[2]
        assert await post(s) == first
        assert len(s.ollama.chats) == 1


OTHERS: list[dict[str, Any]] = [
    {"messages": user("Something else")},
    {"messages": user("Hi"), "options": {"seed": 1}},
    {"messages": user("Hi"), "think": True},
    {"messages": [*user("Hi"), *user("Hi")]},
]


async def test_a_name_that_another_request_has_taken() -> None:
    """It is refused at every server, while the run goes on and after it; the same is not."""
    with redis_server() as redis:
        async with (
            stack(SLOW, run_log=redis.url) as s,
            serve(s.server.state.settings) as twin,
        ):
            asked: dict[str, Any] = {"messages": user("Hi"), "options": {"seed": 7, "top_k": 1}}
            first = asyncio.create_task(post(s, **asked))
            await s.ollama.wait_for_request()
            for _ in range(2):
                for url in (s.url, twin.url):
                    for other in OTHERS:
                        status, _, body = await post(s, url, **other)
                        assert status == 409
                        assert b'"run_id_in_use"' in body
                whole = await first
                # Written in another order, it is the same request.
                again: dict[str, Any] = {"options": {"top_k": 1, "seed": 7}, "messages": user("Hi")}
                assert await post(s, twin.url, **again) == whole
                assert await post(s, **again) == whole
            assert len(s.ollama.chats) == 1


async def test_a_named_run_can_be_stopped_by_its_name() -> None:
    """The client knows the name before the server has answered."""
    async with stack(Script(["word "] * 1000, Pace(tokens_per_second=20))) as s:
        asking = asyncio.create_task(post(s))
        await s.ollama.wait_for_request()
        async with s.http.delete(f"{s.url}/runs/{NAME}") as response:
            assert response.status == 202
        assert b'"status":"cancelled"' in (await asking)[2]


async def test_a_whole_answer_that_has_a_name_can_be_come_back_to() -> None:
    """Its run has its grace time like any other."""
    async with stack(Script(["One", " two"], fault=Fault.stall(at_token=1))) as s:
        asking = asyncio.create_task(post(s, stream=False))
        await s.ollama.wait_for_request()
        run = await s.server.state.runs.find(NAME)
        assert run
        await wait_readers(run, 1)
        asking.cancel()
        await wait_readers(run, 0)
        async with s.http.get(f"{s.url}/runs/{NAME}") as response:
            assert (await response.json())["status"] == "running"


async def wait_readers(run: FoundRun, count: int) -> None:
    while run.readers != count:  # noqa: ASYNC110
        await asyncio.sleep(0)


async def test_names_that_could_be_guessed_are_refused() -> None:
    """Knowing the name is the right to read and stop the run."""
    async with stack(SLOW) as s:
        for name in ("", "short", "x" * 21, "x" * 65, "has/slashes/in/the/middle", "ü" * 22, 5):
            status, _, body = await post(s, run_id=name)
            assert status == 400, name
            assert b"run_id" in body
        assert s.ollama.chats == []


async def test_asking_for_a_whole_answer_whose_beginning_was_dropped() -> None:
    """It cannot be had, and a 410 says from where on the events are there."""
    async with stack(Script(["word"] * 200), log_bytes=1000) as s:
        assert (await post(s, on_disconnect="continue"))[0] == 200
        body = {"messages": user("Hi"), "run_id": NAME, "stream": False}
        async with s.http.post(f"{s.url}/chat", json=body) as response:
            assert response.status == 410
            assert int(response.headers["X-First-Event-Id"]) > 1
            assert (await response.json())["error"]["code"] == "position_gone"
