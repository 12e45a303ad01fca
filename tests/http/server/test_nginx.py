"""Behind nginx, with the configuration that docs/nginx.conf recommends."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from dripline import ServerSentEvent
from dripline.testing import Ending, Fault, Pace, Script
from tests.support.free_port import free_port
from tests.support.nginx import run_nginx
from tests.support.redis_server import RedisServer, redis_server
from tests.support.several import One, Several, several

EXAMPLE = Path(__file__).parents[3] / "docs" / "nginx.conf"
# Says two tokens, and nothing more until it is stopped.
HALF_TOLD = Script(["Once", " upon", " a"], fault=Fault.stall(at_token=2))


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@asynccontextmanager
async def nginx(s: Several, folder: Path) -> AsyncIterator[One]:
    """Run nginx before the two servers, as the example says but for the ports."""
    port = free_port()
    example = EXAMPLE.read_text()
    for written, real in (
        ("127.0.0.1:8001", s.servers[0].url.removeprefix("http://")),
        ("127.0.0.1:8002", s.servers[1].url.removeprefix("http://")),
        ("listen 8000", f"listen 127.0.0.1:{port}"),
    ):
        assert example.count(written) == 1
        example = example.replace(written, real)
    async with run_nginx(example, folder, port) as process:
        yield One(process, f"http://127.0.0.1:{port}")


async def _readers(s: Several) -> list[int]:
    """How many readers each server has of the runs that it owns."""
    found = []
    for server in s.servers:
        async with s.http.get(f"{server.url}/metrics") as response:
            text = await response.text()
            found.append(int(float(text.split("\ndripline_readers ")[1].split("\n")[0])))
    return found


async def test_cut_and_resumed_through_nginx(redis: RedisServer, tmp_path: Path) -> None:
    """Whichever server a resumption comes to: every event, once; and each as it comes."""
    script = Script([f"{n} " for n in range(200)], pace=Pace(tokens_per_second=100))
    async with several(script, redis) as s, nginx(s, tmp_path) as front:
        reader = await s.chat(front)
        assert reader.response.headers["Content-Type"] == "text/event-stream"
        run_id, got = reader.run_id, list[ServerSentEvent]()
        elsewhere = 0
        request = await s.ollama.wait_for_request()
        while not reader.whole:
            await reader.read(until=len(got) + 20)
            got += reader.messages
            if not reader.whole:
                # Had nginx held anything back, the answer would be over.
                assert request.ended is None or len(got) > 150
                elsewhere += sum(await _readers(s)) == 0
                reader.leave()
                reader = await s.attach(front, run_id, len(got))
        assert elsewhere > 0
        assert [int(message.id) for message in got] == list(range(1, 203))


async def test_what_comes_is_not_held_back(redis: RedisServer, tmp_path: Path) -> None:
    """Two tokens are there while the model is silent; a stop goes through."""
    async with several(HALF_TOLD, redis) as s, nginx(s, tmp_path) as front:
        reader = await s.chat(front)
        await reader.read(until=3)
        request = await s.ollama.wait_for_request()
        assert request.ended is None
        assert await s.stop(front, reader.run_id) == 202
        await request.wait_closed()
        await reader.read()
        assert reader.ending == ("cancelled", "")


async def test_who_leaves_nginx_leaves_the_run(redis: RedisServer, tmp_path: Path) -> None:
    """The grace time begins, and then Ollama is let go."""
    async with several(HALF_TOLD, redis, grace=0.2) as s, nginx(s, tmp_path) as front:
        reader = await s.chat(front)
        await reader.read(until=3)
        reader.leave()
        request = await s.ollama.wait_for_request()
        assert await request.wait_ended() is Ending.CLIENT_LEFT


async def test_a_server_dies(redis: RedisServer, tmp_path: Path) -> None:
    """Its chats can be asked for at the same address; new ones work."""
    models = {"half": HALF_TOLD, "told": Script(["Once"])}
    async with several(models, redis, lease_time=2) as s, nginx(s, tmp_path) as front:
        reader = await s.chat(front, model="half")
        await reader.read(until=3)
        owner = s.servers[(await _readers(s)).index(1)]
        owner.process.kill()
        await reader.read()
        assert not reader.whole
        rest = await s.attach(front, reader.run_id, 3)
        await rest.read()
        assert rest.seqs == [4, 5]
        assert rest.ending == ("failed", "owner_lost")
        for _ in range(4):
            again = await s.chat(front, model="told")
            await again.read()
            assert again.ending == ("completed", "")
