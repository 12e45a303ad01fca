"""Receives the messages that the processes on one Redis send each other."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from dripline_server.run_log.redis.reasons import words_of

logger = logging.getLogger(__name__)


class Mailbox:
    """Receives messages from other processes, and reconnects whenever the connection breaks.

    Args:
        client: The Redis client.
        channel: The channel of this process.
        patience: Seconds of silence after which the connection counts as dead. The process sends
            itself messages more often than that.
        opened: Called whenever listening has started. Earlier messages may have been missed.
        closed: Called whenever the connection has broken.
        heard: Called with the words of each message.

    Attributes:
        refused: Why Redis refuses the subscription; None if it does not, or if it is away.
    """

    def __init__(
        self,
        client: Redis,
        channel: str,
        *,
        patience: float,
        opened: Callable[[], None],
        closed: Callable[[], None],
        heard: Callable[[list[str]], None],
    ) -> None:
        self.refused: RedisError | None = None
        self._client = client
        self._channel = channel
        self._patience = patience
        self._opened = opened
        self._closed = closed
        self._heard = heard
        self._task = asyncio.create_task(self._run(), name="redis mailbox")

    async def close(self) -> None:
        """Stop listening."""
        self._task.cancel()
        await asyncio.wait({self._task})

    async def _run(self) -> None:
        while True:
            try:
                await self._listen()
            except ResponseError as error:
                if self.refused is None:
                    logger.error("Redis refuses SUBSCRIBE: %s", words_of(error))
                self.refused = error
            except (RedisError, OSError) as error:
                logger.debug("the mailbox is closed: %s", error)
                self._closed()
            except Exception:  # Without its mailbox nobody could ask this process to stop a run.
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
                    self.refused = None
                    self._opened()
