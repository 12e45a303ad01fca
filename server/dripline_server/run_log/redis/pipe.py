"""Sends a process's commands to Redis over one connection, in as few round trips as possible."""

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

# Commands in one round trip; this limits the size of their replies.
MAX_COMMANDS = 128
# Commands that may wait; with more of them Redis is too slow for this load.
MAX_WAITING = 50_000
TIMEOUT_PARTS = 4
# The part of the round trip's timeout that a request's commands may wait to be sent.
WAIT_PART = 0.6


class NewConnection(Exception):
    """The command was not sent: the connection is new, so Redis may have lost data."""


@dataclass(slots=True)
class _Waiting:
    """A command and the future of its reply.

    Attributes:
        words: The command.
        reply: Its reply, or an exception instead.
        until: The time after which it is not sent any more; 0 means never.
        generation: The only connection that may send it, or 0 for any; after sending, the
            connection that was used.
    """

    words: Command
    reply: asyncio.Future[Any]
    until: float = 0
    generation: int = 0

    def settle(self, reply: object) -> None:
        """Set the reply, unless nobody waits for it any more."""
        if not self.reply.done():
            self.reply.set_result(reply)


class Pipe:
    """Sends commands over one connection.

    Commands that arrive during a round trip share the next one, because a round trip costs about
    40 us of CPU and a command in it only 8. No command waits for others to arrive. Urgent ones go
    first. No command is sent twice, and none is sent for which nobody waits any more.

    After a timeout, or if no connection can be made, all waiting commands fail at once. Otherwise
    each of them would wait just as long again.

    Args:
        client: The Redis client.
        timeout: Seconds for a round trip. A Redis that needs longer counts as away. The time is
            counted in parts, so that a stall of this process uses up only one part and does not
            count as silence of Redis.
        opened: Called after each new connection.

    Attributes:
        generation: The number of the connection. Facts learned over an earlier connection may no
            longer be true.
        away_since: The event loop's time since when Redis does not answer; 0 while it does.
        back_since: Since when it has answered over one connection, without losing anything.
    """

    def __init__(
        self, client: Redis, timeout: float, opened: Callable[[], None] = lambda: None
    ) -> None:
        self.generation = 0
        self.away_since = 0.0
        self.back_since = -math.inf
        self._client = client.client()  # this client keeps one connection of the pool
        self._timeout = timeout
        self._opened = opened
        self._urgent: deque[_Waiting] = deque()
        self._queue: deque[_Waiting] = deque()
        self._queued = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._connecting = False
        self._connected = True
        # The commands that Redis refuses at present, and what was logged about each.
        self._refused: dict[Command, tuple[str, str]] = {}
        self._closed = False
        self._task = asyncio.create_task(self._run(), name="redis pipe")

    def send(
        self, *command: Argument, urgent: bool = False, generation: int = 0
    ) -> asyncio.Future[Any]:
        """Send a command. The future's result is the reply, or an exception instead.

        Commands are executed in the order in which they are sent, the urgent ones first.

        Args:
            command: Its words.
            urgent: Whether to send it before all waiting commands.
            generation: The only connection that may send it. Over another one it is not sent, and
                the result is a `NewConnection`.
        """
        return self._add(command, urgent=urgent, generation=generation).reply

    async def call(self, *commands: Command, urgent: bool = False) -> list[Any]:
        """Send commands and return their replies. Safe to cancel: each is executed or not.

        Raises:
            RunLogUnavailable: Redis does not answer in time, or refuses one of them.
        """
        _, replies = await self.look(*commands, urgent=urgent)
        return replies

    async def look(self, *commands: Command, urgent: bool = False) -> tuple[int, list[Any]]:
        """Like `call`, but also return the generation of the connection that was used."""
        until = asyncio.get_running_loop().time() + self._timeout * WAIT_PART
        waiting = [self._add(command, urgent=urgent, until=until) for command in commands]
        replies = await asyncio.gather(*[one.reply for one in waiting])
        for reply in replies:
            if isinstance(reply, Exception):
                raise unavailable(reply) from reply
        return min((one.generation for one in waiting), default=self.generation), replies

    def doubt(self) -> None:
        """Make every log compare itself with Redis again, as after a new connection."""
        self.generation += 1
        self.back_since = asyncio.get_running_loop().time()
        self._opened()

    async def close(self) -> None:
        """Send the queued commands, and accept no more."""
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
        """Return the next commands to send, without those that have become useless."""
        now = asyncio.get_running_loop().time()
        batch: list[_Waiting] = []
        while len(batch) < MAX_COMMANDS and (queue := self._urgent or self._queue):
            waiting = queue.popleft()
            if waiting.until and waiting.until < now:
                waiting.settle(RunLogUnavailable("Redis is too slow for the number of commands"))
            elif not waiting.reply.done():  # otherwise its request was cancelled
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
        except Exception as error:  # Whatever went wrong, the next batch must still be sent.
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
            # Notice here, before sending, that the connection was closed while it was idle.
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
            # The outstanding replies belong to nobody any more.
            await connection.disconnect(nowait=True)
            raise
        if any(code_of(reply) == "READONLY" for reply in replies if isinstance(reply, Exception)):
            # Redis may have a new master by now; a new connection finds it.
            await connection.disconnect(nowait=True)
        return replies

    async def _new_connection(self, connection: Connection) -> None:
        """See that a new connection is let in, before many commands at once are sent.

        Redis closes the connection of one who is not, without a word of why.
        """
        await connection.send_command("EXISTS", stream.lease_key(""))
        with suppress(ResponseError):  # the caller gets the refusal of its own command
            await connection.read_response()
        loop = asyncio.get_running_loop()
        self.generation += 1
        self.back_since = loop.time()
        loop.call_soon(self._opened)

    async def _reply(self, connection: Connection, words: Command) -> Any:
        # Each script can be refused separately.
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
                logger.warning("Redis accepts again what it refused")
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
        """Log when Redis goes away and when it is back, but nothing in between."""
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
