"""DELETE frees Ollama within 100 ms, whatever it is doing, here and from another process."""

from __future__ import annotations

import asyncio
import math

import pytest

from dripline.testing import Ending, Fault, Pace, Phase, ReceivedRequest, Script
from tests.support.event_loop_lag import event_loop_lag
from tests.support.redis_server import redis_server
from tests.support.several import Reader, several
from tests.support.stack import stack, user

LIMIT = 0.1
TIMES = 5

PHASES: dict[str, tuple[Script, Phase]] = {
    "cold load": (Script(pace=Pace(cold_load=math.inf)), Phase.LOADING),
    "before the first token": (Script(pace=Pace(first_token=math.inf)), Phase.EVALUATING),
    "mid-answer": (Script("word " * 10_000, pace=Pace(tokens_per_second=50)), Phase.ANSWERING),
    "stall": (Script(["Once", " upon"], fault=Fault.stall(at_token=2)), Phase.STALLED),
}
in_every_phase = pytest.mark.parametrize(("script", "phase"), PHASES.values(), ids=PHASES)


def closed_at(request: ReceivedRequest) -> float:
    assert request.ended is Ending.CLIENT_LEFT
    assert request.closed_at is not None
    return request.closed_at


@in_every_phase
async def test_stop_frees_ollama(script: Script, phase: Phase) -> None:
    """202, every reader gets `end` "cancelled", and each time Ollama's socket is closed in time.

    What the machine takes from this process while it is measured is not dripline's: the event
    loop's lag is left out.
    """
    async with stack(script) as s, event_loop_lag() as lag:
        for nth in range(TIMES):
            first = Reader(await s.http.post(f"{s.url}/chat", json={"messages": user("Hi")}))
            events = f"{s.url}/runs/{first.run_id}/events"
            second = Reader(await s.http.get(events))
            request = await s.ollama.wait_for_request(nth + 1)
            await request.wait_phase(phase)
            asked, late = asyncio.get_running_loop().time(), lag.total
            answer = await s.http.delete(f"{s.url}/runs/{first.run_id}")
            assert answer.status == 202
            await request.wait_closed()
            assert closed_at(request) - asked - (lag.total - late) < LIMIT
            assert await first.read() == await second.read()
            assert first.ending == second.ending == ("cancelled", "")
            again = await s.http.delete(f"{s.url}/runs/{first.run_id}")
            assert again.status == 204


@in_every_phase
async def test_stop_from_another_process_frees_ollama(script: Script, phase: Phase) -> None:
    """The same by way of Redis; the best of five, because nobody knows how late the others are.

    A busy machine may make it late, but not early.
    """
    delays = []
    with redis_server() as redis:
        async with several(script, redis) as s:
            a, b = s.servers
            for nth in range(TIMES):
                reader = await s.chat(a)
                request = await s.ollama.wait_for_request(nth + 1)
                await request.wait_phase(phase)
                asked = asyncio.get_running_loop().time()
                assert await s.stop(b, reader.run_id) == 202
                await request.wait_closed()
                delays.append(closed_at(request) - asked)
                await reader.read()
                assert reader.ending == ("cancelled", "")
    assert min(delays) < LIMIT
