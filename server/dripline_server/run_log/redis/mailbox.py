"""What the processes on one Redis say to each other."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from dripline_server.run_log.redis.reasons import words_of

logger = logging.getLogger(__name__)


class Mailbox:
    """Hears what other processes say to this one; connects again as often as it takes.

    Args:
        client: Redis.
        channel: Where it listens.
        patience: Seconds of silence after which the connection counts as dead. The process says
            something to itself more often than that.
        opened: Called whenever it has begun to listen: what was said before may have been missed.
        closed: Called whenever its connection has broken.
        heard: Called with the words of each message.

    Attributes:
        refused: Why Redis does not let it listen; None where it does, or is away.
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
        """Listen no longer."""
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
                    self.refused = None
                    self._opened()
