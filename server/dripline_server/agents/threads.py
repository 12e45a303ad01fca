"""Run a function, or iterate a generator, in a thread of its own."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator

from dripline_server.agents.agent_chat import Chat

# How many items the thread may be ahead of the run.
QUEUE = 64


async def iterate_in_thread(
    name: str, function: Callable[[Chat], object], chat: Chat
) -> AsyncGenerator[tuple[object, bool]]:
    """Yield each item of the generator that the function returns, with True.

    If the function returns anything else, that is yielded, with False.

    Closing this generator closes the function's generator when it next yields, and waits for the
    thread. A thread cannot be stopped from outside: cancelling the wait leaves it running.

    Raises:
        BaseException: Whatever the function raises.
    """
    work = _Work(function, chat)
    context = contextvars.copy_context()
    threading.Thread(
        target=context.run, args=(work.run,), name=f"agent {name}", daemon=True
    ).start()
    try:
        while True:
            while work.items:
                item = work.items.popleft()
                work.room.release()
                yield item, True
            if work.ended:
                break
            await work.next_news()
    finally:
        work.close()
        while not work.ended:
            await work.next_news()
    if work.error:
        raise work.error
    if work.returned is not work:
        yield work.returned, False


class _Work:
    """What happens in the thread.

    Attributes:
        items: What the generator has yielded and the event loop has not fetched.
        room: Counts how many more items may be put there.
        ended: Whether the thread does nothing any more.
        returned: What the function returned; this object itself if that was a generator.
        error: What the function raised.
    """

    def __init__(self, function: Callable[[Chat], object], chat: Chat) -> None:
        self.items: deque[object] = deque()
        self.room = threading.Semaphore(QUEUE)
        self.ended = False
        self.returned: object = self
        self.error: BaseException | None = None
        self._function = function
        self._chat = chat
        self._closed = False
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._announced = False

    def run(self) -> None:
        """Do all the work; called in the thread."""
        try:
            made = self._function(self._chat)
            if isinstance(made, Iterator):
                self._iterate(made)
            else:
                self.returned = made
        except BaseException as error:  # noqa: BLE001 (the run raises it)
            self.error = error
        self.ended = True
        self._announce()

    def _iterate(self, items: Iterator[object]) -> None:
        try:
            for item in items:
                self.room.acquire()
                if self._closed:
                    break
                self.items.append(item)
                self._announce()
        finally:
            if close := getattr(items, "close", None):
                close()

    def close(self) -> None:
        """Have the thread end as soon as its generator yields; called in the event loop."""
        self._closed = True
        self.room.release()

    async def next_news(self) -> None:
        """Wait until the thread has put an item, or has ended."""
        await self._news.wait()
        self._news.clear()

    def _announce(self) -> None:
        if self._announced:
            return  # the event loop has not looked yet
        self._announced = True
        try:
            self._loop.call_soon_threadsafe(self._hear)
        except RuntimeError:  # the loop is closed, so nobody waits
            self._closed = True

    def _hear(self) -> None:
        self._announced = False  # before the items are fetched, so that none is missed
        self._news.set()
