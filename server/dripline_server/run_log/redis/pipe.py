"""A process's commands for Redis: one connection, and as few round trips as can be."""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Connection, Redis
from redis.exceptions import AuthenticationError, BusyLoadingError, RedisError, ResponseError

from dripline_server.run_log import RunLogUnavailable
from dripline_server.run_log.redis import stream
from dripline_server.run_log.redis.reasons import code_of, unavailable, words_of
from dripline_server.run_log.redis.stream import Argument, Command

logger = logging.getLogger(__name__)

# Bounds what the replies of one round trip can hold.
MAX_COMMANDS = 128
# Bounds what may wait: beyond this Redis is too slow for what it is asked.
MAX_WAITING = 50_000
TIMEOUT_PARTS = 4
# Of the time for a round trip: how long a request's commands may wait for theirs to begin.
WAIT_PART = 0.6


class NewConnection(Exception):
    """The command was not sent: the connection is a new one, so Redis may have lost something."""


@dataclass(slots=True)
class _Waiting:
    """A command, and who waits for its reply.

    Attributes:
        words: The command.
        reply: Its reply, or the exception in its place.
        until: When it is too late to send it; 0 means never.
        generation: The connection that it is meant for, 0 for any; once it was sent, its own.
    """

    words: Command
    reply: asyncio.Future[Any]
    until: float = 0
    generation: int = 0

    def settle(self, reply: object) -> None:
        """Give the reply to who still waits for it."""
        if not self.reply.done():
            self.reply.set_result(reply)


class Pipe:
    """Sends commands over one connection.

    Those that come while a round trip is under way share the next one: a round trip costs about
    40 us of CPU, a command in it 8. Nothing waits for others to come. No command is sent twice, and
    none that nobody waits for any more. Urgent ones go first.

    After a time-out, or if no connection can be made, all that waits fails at once: each would only
    wait as long again.

    Args:
        client: Redis.
        timeout: Seconds for a round trip; a Redis that takes longer counts as gone. They are
            counted in parts, of which a stall of this process takes one: that is no silence of
            Redis's.
        opened: Called after each new connection.

    Attributes:
        generation: Counts the connections: what was known of Redis over an earlier one may not be
            true any more.
        away_since: Since when Redis has not answered, by the event loop's clock; 0 while it does.
        back_since: Since when it has, over one connection and without losing anything.
    """

    def __init__(
        self, client: Redis, timeout: float, opened: Callable[[], None] = lambda: None
    ) -> None:
        self.generation = 0
        self.away_since = 0.0
        self.back_since = -math.inf
        self._client = client.client()  # keeps a connection of the pool's for itself
        self._timeout = timeout
        self._opened = opened
        self._urgent: deque[_Waiting] = deque()
        self._queue: deque[_Waiting] = deque()
        self._queued = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._connecting = False
        self._connected = True
        # What Redis refuses at present, and what was logged of that.
        self._refused: dict[Command, tuple[str, str]] = {}
        self._closed = False
        self._task = asyncio.create_task(self._run(), name="redis pipe")

    def send(
        self, *command: Argument, urgent: bool = False, generation: int = 0
    ) -> asyncio.Future[Any]:
        """Send a command; the future's result is the reply, or the exception in its place.

        Commands are carried out in the order in which they are sent, the urgent ones first.

        Args:
            command: Its words.
            urgent: Whether it goes before all that waits.
            generation: The connection that it is meant for; over another one it is not sent, and
                the result is a `NewConnection`.
        """
        return self._add(command, urgent=urgent, generation=generation).reply

    async def call(self, *commands: Command, urgent: bool = False) -> list[Any]:
        """Send commands and return their replies. Safe to cancel: they are carried out or not.

        Raises:
            RunLogUnavailable: Redis does not answer in time, or refuses one of them.
        """
        _, replies = await self.look(*commands, urgent=urgent)
        return replies

    async def look(self, *commands: Command, urgent: bool = False) -> tuple[int, list[Any]]:
        """Do as `call`, and return also the generation of the connection that was used last."""
        until = asyncio.get_running_loop().time() + self._timeout * WAIT_PART
        waiting = [self._add(command, urgent=urgent, until=until) for command in commands]
        replies = await asyncio.gather(*[one.reply for one in waiting])
        for reply in replies:
            if isinstance(reply, Exception):
                raise unavailable(reply) from reply
        return min((one.generation for one in waiting), default=self.generation), replies

    def doubt(self) -> None:
        """Have everybody look again at what Redis has, as after a new connection."""
        self.generation += 1
        self.back_since = asyncio.get_running_loop().time()
        self._opened()

    async def close(self) -> None:
        """Send what is queued, and take nothing more."""
        self._closed = True
        self._queued.set()
        await asyncio.wait({self._task})
        await self._client.aclose()

    def _add(
        self, command: Command, *, urgent: bool = False, until: float = 0, generation: int = 0
    ) -> _Waiting:
        reply = asyncio.get_running_loop().create_future()
        waiting = _Waiting(command, reply, until, generation)
        queue = self._urgent if urgent else self._queue
        if self._closed:
            reply.set_result(RunLogUnavailable("closed"))
        elif len(queue) >= MAX_WAITING:
            reply.set_result(RunLogUnavailable("too many commands wait for Redis"))
        else:
            queue.append(waiting)
            self._queued.set()
        return waiting

    async def _run(self) -> None:
        while self._queue or self._urgent or not self._closed:
            if batch := self._next():
                replies = await self._round_trip(batch)
                for waiting, reply in zip(batch, replies, strict=True):
                    waiting.settle(reply)
            else:
                self._queued.clear()
                if not self._closed:
                    await self._queued.wait()

    def _next(self) -> list[_Waiting]:
        """Return what goes next, without what has become useless meanwhile."""
        now = asyncio.get_running_loop().time()
        batch: list[_Waiting] = []
        while len(batch) < MAX_COMMANDS and (queue := self._urgent or self._queue):
            waiting = queue.popleft()
            if waiting.until and waiting.until < now:
                waiting.settle(RunLogUnavailable("Redis is too slow for what it is asked"))
            elif not waiting.reply.done():  # else its request has gone
                batch.append(waiting)
        return batch

    async def _round_trip(self, batch: list[_Waiting]) -> list[Any]:
        self._connecting = True
        started = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(None) as limit:
                self._wait_for(limit, TIMEOUT_PARTS)
                replies = await self._exchange(batch)
        except (RedisError, OSError) as error:
            silent = isinstance(error, TimeoutError) and not str(error)
            reason = f"no answer within {self._timeout:g} s" if silent else words_of(error)
            trouble = unavailable(error) if code_of(error) else RunLogUnavailable(reason)
            self._note(reason)
            self.away_since = self.away_since or started
            if self._connecting or silent:
                self._fail_all(trouble)
            return [trouble] * len(batch)
        except Exception as error:  # Whatever it is, the next batch is to have its chance.
            logger.exception("a fault in dripline, or in its Redis client")
            return [RunLogUnavailable(repr(error))] * len(batch)
        finally:
            if self._timer:
                self._timer.cancel()
        self._note("")
        self.away_since = 0.0
        return replies

    def _fail_all(self, trouble: RunLogUnavailable) -> None:
        for queue in (self._urgent, self._queue):
            for waiting in queue:
                waiting.settle(trouble)
            queue.clear()

    async def _exchange(self, batch: list[_Waiting]) -> list[Any]:
        """Send commands, and return their replies, or the errors that Redis gave in their place.

        redis-py's own pipeline does the same, and takes its connection from the pool each time: a
        third of a round trip.
        """
        connection = self._client.connection
        first = connection is None
        if connection is None:
            connection = (await self._client.initialize()).connection
            assert connection  # `initialize` makes it
            callback = self._new_connection
            connection.register_connect_callback(callback)  # type: ignore[no-untyped-call]
        try:
            if first:
                await self._new_connection(connection)
            # One that was closed while it was idle is noticed here, before anything is sent.
            await self._client.connection_pool.ensure_connection(connection)
            self._connecting = False
            generation = self.generation
            sent = [one for one in batch if one.generation in (0, generation)]
            for one in sent:
                one.generation = generation
            if sent:
                words = connection.pack_commands([one.words for one in sent])
                await connection.send_packed_command(words)
            replies = [
                await self._reply(connection, one.words)
                if one.generation == generation
                else NewConnection()
                for one in batch
            ]
        except BaseException:
            # What is still to come of replies is nobody's.
            await connection.disconnect(nowait=True)
            raise
        if any(code_of(reply) == "READONLY" for reply in replies if isinstance(reply, Exception)):
            # There may be another master by now; a new connection finds it.
            await connection.disconnect(nowait=True)
        return replies

    async def _new_connection(self, connection: Connection) -> None:
        """See that a new connection is let in, before many commands at once are sent.

        Redis closes the connection of one who is not, without a word of why.
        """
        await connection.send_command("EXISTS", stream.lease_key(""))
        with suppress(ResponseError):  # what is refused to the command, its caller is told
            await connection.read_response()
        loop = asyncio.get_running_loop()
        self.generation += 1
        self.back_since = loop.time()
        loop.call_soon(self._opened)

    async def _reply(self, connection: Connection, words: Command) -> Any:
        # Of scripts each can be refused by itself.
        name = str(words[0])
        kind: Command = words[:2] if name == "EVAL" else words[:1]
        try:
            reply = await self._client.parse_response(connection, name)
        except (ResponseError, BusyLoadingError, AuthenticationError) as error:
            if not stream.is_refusal(error):
                self._note_refusal(name, kind, error)
            return error
        if self._refused and kind in self._refused:
            del self._refused[kind]
            if not self._refused:
                logger.warning("Redis takes again what it refused")
        return reply

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

    def _note_refusal(self, name: str, kind: Command, error: Exception) -> None:
        """Log in Redis's own words what it refuses, once until it takes all of that again.

        Where it is a matter of rights, each command has its own; else all are refused alike.
        """
        code = code_of(error)
        logged = name if code == "NOPERM" else "", code
        if logged not in self._refused.values():
            logger.error("Redis refuses %s: %s", name, words_of(error))
        self._refused[kind] = logged
