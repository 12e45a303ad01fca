"""A process's commands for Redis: one connection, and as few round trips as can be."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from redis.asyncio import Connection, Redis
from redis.exceptions import RedisError, ResponseError

from dripline_server.run_log import RunLogUnavailable
from dripline_server.run_log.redis.stream import Argument, Command

logger = logging.getLogger(__name__)

# Bounds what the replies of one round trip can hold.
MAX_COMMANDS = 128
TIMEOUT_PARTS = 4


class Pipe:
    """Sends commands over one connection.

    Those that come while a round trip is under way share the next one: a round trip costs about
    40 us of CPU, a command in it 8. Nothing waits for others to come. No command is sent twice.

    Args:
        client: Redis.
        timeout: Seconds for a round trip; a Redis that takes longer counts as gone. They are
            counted in parts, of which a stall of this process takes one: that is no silence of
            Redis's.
    """

    def __init__(self, client: Redis, timeout: float) -> None:
        self._client = client.client()  # keeps a connection of the pool's for itself
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
        await self._client.aclose()

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
            async with asyncio.timeout(None) as limit:
                self._wait_for(limit, TIMEOUT_PARTS)
                replies = await self._exchange([command for command, _ in batch])
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
        return replies

    async def _exchange(self, commands: list[Command]) -> list[Any]:
        """Send commands, and return their replies, or the errors that Redis gave in their place.

        redis-py's own pipeline does the same, and takes its connection from the pool each time: a
        third of a round trip.
        """
        connection = self._client.connection or (await self._client.initialize()).connection
        assert connection  # `initialize` makes it
        try:
            # One that was closed while it was idle is noticed here, before anything is sent.
            await self._client.connection_pool.ensure_connection(connection)
            await connection.send_packed_command(connection.pack_commands(commands))
            return [await self._reply(connection, str(name)) for name, *_ in commands]
        except BaseException:
            # What is still to come of replies is nobody's.
            await connection.disconnect(nowait=True)
            raise

    async def _reply(self, connection: Connection, name: str) -> Any:
        try:
            return await self._client.parse_response(connection, name)
        except ResponseError as error:
            return error

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
