"""What a process has open to Redis: one connection for its commands, one for its mailbox."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from dripline_server.run_log import RunLogUnavailable
from dripline_server.run_log.redis_stream import Argument, Command

logger = logging.getLogger(__name__)

# Bounds what the replies of one round trip can hold.
MAX_COMMANDS = 128
TIMEOUT_PARTS = 4
# How often in a row a lease has to be missing: a Redis that has just restarted knows no lease.
LOOKS = 3


class Pipe:
    """Sends commands over one connection.

    Those that come while a round trip is under way share the next one: a round trip costs about
    100 us of CPU, a command in it 15. Nothing waits for others to come. No command is sent twice.

    Args:
        client: Redis.
        timeout: Seconds for a round trip; a Redis that takes longer counts as gone. They are
            counted in parts, of which a stall of this process takes one: that is no silence of
            Redis's.
    """

    def __init__(self, client: Redis, timeout: float) -> None:
        self._client = client
        self._timeout = timeout
        self._queue: list[tuple[Command, asyncio.Future[Any]]] = []
        self._queued = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._connected = True
        self._closed = False
        self._task = asyncio.create_task(self._run(), name="redis pipe")

    def send(self, *command: Argument) -> asyncio.Future[Any]:
        """Send a command; the future's result is the reply, or the exception in its place.

        Commands are carried out in the order in which they are sent.
        """
        reply = asyncio.get_running_loop().create_future()
        if self._closed:
            reply.set_result(RunLogUnavailable("closed"))
        else:
            self._queue.append((command, reply))
            self._queued.set()
        return reply

    async def call(self, *commands: Command) -> list[Any]:
        """Send commands and return their replies. Safe to cancel: they are carried out or not.

        Raises:
            RunLogUnavailable: Redis does not answer, or refuses one of them.
        """
        replies = await asyncio.gather(*[self.send(*command) for command in commands])
        for reply in replies:
            if isinstance(reply, Exception):
                raise RunLogUnavailable(str(reply)) from reply
        return replies

    async def close(self) -> None:
        """Send what is queued, and take nothing more."""
        self._closed = True
        self._queued.set()
        await asyncio.wait({self._task})

    async def _run(self) -> None:
        while self._queue or not self._closed:
            if self._queue:
                batch, self._queue = self._queue[:MAX_COMMANDS], self._queue[MAX_COMMANDS:]
                for (_, future), reply in zip(batch, await self._round_trip(batch), strict=True):
                    if not future.done():
                        future.set_result(reply)
            else:
                self._queued.clear()
                await self._queued.wait()

    async def _round_trip(self, batch: list[tuple[Command, asyncio.Future[Any]]]) -> list[Any]:
        try:
            async with (
                asyncio.timeout(None) as limit,
                self._client.pipeline(transaction=False) as pipeline,
            ):
                self._wait_for(limit, TIMEOUT_PARTS)
                for command, _ in batch:
                    pipeline.execute_command(*command)
                replies = await pipeline.execute(raise_on_error=False)
        except (RedisError, OSError) as error:
            reason = str(error) or f"no answer within {self._timeout:g} s"
            self._note(reason)
            return [RunLogUnavailable(reason)] * len(batch)
        except Exception as error:  # Whatever it is, the next batch is to have its chance.
            logger.exception("a fault in dripline, or in its Redis client")
            return [RunLogUnavailable(repr(error))] * len(batch)
        finally:
            if self._timer:
                self._timer.cancel()
        self._note("")
        return list(replies)

    def _wait_for(self, limit: asyncio.Timeout, parts: int) -> None:
        """Let the time be up after so many further parts of it."""
        loop = asyncio.get_running_loop()
        if parts:
            part = self._timeout / TIMEOUT_PARTS
            self._timer = loop.call_later(part, self._wait_for, limit, parts - 1)
        else:
            limit.reschedule(loop.time())

    def _note(self, trouble: str) -> None:
        """Log when Redis goes away and when it is back, and not what happens between."""
        if trouble and self._connected:
            logger.error("Redis is away: %s", trouble)
        elif not trouble and not self._connected:
            logger.warning("Redis is back")
        self._connected = not trouble


class Mailbox:
    """Hears what other processes say to this one; connects again as often as it takes.

    Args:
        client: Redis.
        channel: Where it listens.
        patience: Seconds of silence after which the connection counts as dead. The process says
            something to itself more often than that.
        opened: Called whenever it has begun to listen: what was said before may have been missed.
        heard: Called with the words of each message.
    """

    def __init__(
        self,
        client: Redis,
        channel: str,
        *,
        patience: float,
        opened: Callable[[], None],
        heard: Callable[[list[str]], None],
    ) -> None:
        self._client = client
        self._channel = channel
        self._patience = patience
        self._opened = opened
        self._heard = heard
        self._task = asyncio.create_task(self._run(), name="redis mailbox")

    async def close(self) -> None:
        """Listen no longer."""
        self._task.cancel()
        await asyncio.wait({self._task})

    async def _run(self) -> None:
        while True:
            try:
                await self._listen()
            except (RedisError, OSError) as error:
                logger.debug("the mailbox is closed: %s", error)
            except Exception:  # Without its mailbox the process could not be told to stop a run.
                logger.exception("a fault in dripline, or in its Redis client")
            await asyncio.sleep(self._patience / 4)

    async def _listen(self) -> None:
        async with self._client.pubsub() as pubsub:
            async with asyncio.timeout(self._patience):
                await pubsub.subscribe(self._channel)
            while message := await pubsub.get_message(timeout=self._patience):
                if message["type"] == "message":
                    self._heard(message["data"].decode().split(" "))
                else:
                    self._opened()


@dataclass(frozen=True, slots=True)
class Link:
    """What the logs of a process share.

    Attributes:
        process: The process's name.
        pipe: Its way to Redis.
        lease_time: Seconds after which everybody knows that a process has died: its lease runs out
            after half of them, and the other half is for the looks that find it missing.
        keep_time: Seconds for which ended runs stay.
    """

    process: str
    pipe: Pipe
    lease_time: float
    keep_time: float

    @property
    def period(self) -> float:
        """Seconds between two renewals, and between two looks."""
        return self.lease_time / 2 / LOOKS

    @property
    def lease(self) -> int:
        """Milliseconds after which a lease runs out."""
        return int(self.lease_time / 2 * 1000)

    @property
    def keep(self) -> int:
        """Milliseconds after which an ended run's keys go: time for those who still read it."""
        return int((self.keep_time + self.lease_time) * 1000)

    @property
    def lifetime(self) -> int:
        """Milliseconds after which the keys of a run go that nobody cares for any more."""
        return self.keep + int(4 * self.lease_time * 1000)
