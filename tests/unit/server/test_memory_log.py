"""What the memory log keeps for readers whose bytes are still on their way."""

from __future__ import annotations

from unittest.mock import Mock

from dripline_server.run_log.memory import RESUME_MARGIN, Budget, MemoryRunLog, MemoryRunLogs

PAYLOAD = b"x" * 1000


async def test_what_a_reader_has_just_taken_can_be_had_again() -> None:
    """A reader that took everything and then lost its connection finds its last 512 KiB."""
    log = MemoryRunLog(2**20, Budget(2**30))
    async with log.follow(0) as batches:
        taken = 0
        for _ in range(5000):
            await log.append([PAYLOAD])
            async for batch in batches:
                taken += len(batch.payloads)
                break
        assert taken == 5000
        state = await log.state()
        assert (state.last - state.first) * len(PAYLOAD) > RESUME_MARGIN * 0.9


async def test_the_bound_is_kept_without_readers_and_with() -> None:
    """The margin is part of the bound and not beyond it."""
    budget = Budget(2**30)
    log = MemoryRunLog(2**20, budget)
    for _ in range(5000):
        await log.append([PAYLOAD])
        assert budget.used <= 2**20
    async with log.follow(4900) as batches:
        for _ in range(5000):
            await log.append([PAYLOAD])
            async for _ in batches:
                break
            assert budget.used <= 2**20


async def test_a_run_has_one_name_and_takes_it_along() -> None:
    """However often a client names it anew, nothing is left of it afterwards."""
    logs = MemoryRunLogs(2**20, Budget(2**30))
    await logs.create("run", "story", Mock())
    await logs.create("other", "story", Mock())
    for name in ("first", "second", "third"):
        await logs.remember(name, "run", b"about")
    assert await logs.recall("third") == b"about"
    assert [await logs.recall(name) for name in ("first", "second")] == [b"", b""]
    await logs.remember("third", "other", b"newer")
    logs.forget("run")
    assert await logs.recall("third") == b"newer"
    logs.forget("other")
    assert await logs.recall("third") == b""
