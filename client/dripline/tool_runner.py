"""Call tools so that no tool can block a run, the event loop or the program's exit."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import logging
import threading
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import orjson

from dripline.events import ToolCall, ToolResult
from dripline.json_text import without_lone_surrogates
from dripline.tool import Tool, ToolError, why_unreadable

if TYPE_CHECKING:
    from pydantic import TypeAdapter

logger: logging.Logger = logging.getLogger(__name__)

# A thread cannot be stopped, so one whose call timed out counts until its function returns.
MAX_THREADS = 64
CLOSE_TIME = 2.0


class ToolRunner:
    """Calls tools, both on the server and in the client. Close it with `close()`.

    Args:
        timeout: The limit for a call, in seconds, unless the tool sets its own. None: no limit.
        max_result: Longer results are truncated to this many characters. None: no limit.
        on_call: Called after each call with the tool's name and whether it failed.
    """

    def __init__(
        self,
        *,
        timeout: float | None = None,
        max_result: int | None = None,
        on_call: Callable[[str, bool], object] = lambda _name, _failed: None,
    ) -> None:
        self._timeout = timeout
        self._max_result = max_result
        self._on_call = on_call
        self._tasks: set[asyncio.Task[Any]] = set()
        self._threads = 0

    async def call(self, tool: Tool, call: ToolCall) -> ToolResult:
        """Return the tool's result, or a failed result that tells the model what went wrong.

        It raises only if it is cancelled. It then returns at once, whatever the tool does: a
        coroutine is cancelled too; a thread runs to its end, and its result is discarded.
        """
        try:
            content, failed = self._bounded(_text_of(await self._outcome(tool, call))), False
        except ToolError as error:
            content, failed = self._bounded(_words_of(error)), True
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            # A traceback may show message contents, which the log avoids elsewhere. Without one,
            # nobody could fix the tool.
            logger.error("the tool %s failed", tool.name, exc_info=error)
            content, failed = self._bounded(f"{type(error).__name__}: {_words_of(error)}"), True
        self._on_call(tool.name, failed)
        return ToolResult(call.id, tool.name, content, failed)

    async def close(self) -> None:
        """Cancel the running calls and wait briefly for them to end."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            _, stuck = await asyncio.wait(self._tasks, timeout=CLOSE_TIME)
            for task in stuck:
                logger.error("%s does not stop when it is cancelled", task.get_name())

    async def _outcome(self, tool: Tool, call: ToolCall) -> Any:
        if wrong := why_unreadable(call):
            raise ToolError(wrong)
        arguments = tool.check(call.arguments)
        limit = self._timeout if tool.timeout is None else tool.timeout
        started = self._start(tool, arguments)
        try:
            # Not `wait_for`: that would wait for a coroutine that ignores its cancellation.
            done, _ = await asyncio.wait({started}, timeout=limit)
        finally:
            started.cancel()
        if not done:
            raise ToolError(f"it took longer than {limit:g} s")
        if started.cancelled():
            raise ToolError("it was cancelled")
        return started.result()

    def _start(self, tool: Tool, arguments: dict[str, Any]) -> asyncio.Future[Any]:
        if not inspect.iscoroutinefunction(tool.function):
            return self._start_thread(tool, arguments)
        task = asyncio.create_task(_contained(tool, arguments), name=f"tool {tool.name}")
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            # Marks it as retrieved. If nobody waits any more, the call timed out or was cancelled,
            # and asyncio would log "exception was never retrieved".
            task.exception()

    def _start_thread(self, tool: Tool, arguments: dict[str, Any]) -> asyncio.Future[Any]:
        """Call the function in a daemon thread: a stuck one must not prevent the exit."""
        if self._threads >= MAX_THREADS:
            raise ToolError("too many tools are running; try again later")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        context = contextvars.copy_context()

        def settle(take: Callable[[Any], None], outcome: Any) -> None:
            self._threads -= 1
            if not future.done():
                take(outcome)

        def work() -> None:
            try:
                outcome, take = context.run(tool.function, **arguments), future.set_result
            except BaseException as error:  # noqa: BLE001 (the waiting task raises it)
                outcome, take = _as_exception(error), future.set_exception
            with contextlib.suppress(RuntimeError):  # the loop is closed, so nobody is waiting
                loop.call_soon_threadsafe(settle, take, outcome)

        threading.Thread(target=work, name=f"tool {tool.name}", daemon=True).start()
        self._threads += 1  # only now, because starting a thread can fail
        return future

    def _bounded(self, text: str) -> str:
        # A lone surrogate, for example from a file name, cannot be encoded as JSON.
        told = without_lone_surrogates(text[: self._max_result])
        if self._max_result is None or len(text) <= self._max_result:
            return told
        return f"{told}\n[cut off here; it has {len(text):,} characters]"


async def _contained(tool: Tool, arguments: dict[str, Any]) -> Any:
    try:
        return await tool.function(**arguments)
    except asyncio.CancelledError:
        raise
    except BaseException as error:  # for SystemExit and KeyboardInterrupt asyncio stops its loop
        raise _as_exception(error) from error


def _as_exception(error: BaseException) -> Exception:
    """Return an exception that a future can hold: not a StopIteration or a SystemExit."""
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    said = f"{type(error).__name__}: {_words_of(error)}"
    return RuntimeError(said).with_traceback(error.__traceback__)


def call_key(call: ToolCall) -> bytes:
    """Return a key that is equal for two calls of the same tool with the same arguments."""
    named = {"name": call.name, "arguments": call.arguments, "unreadable": call.unreadable}
    return orjson.dumps(named, option=orjson.OPT_SORT_KEYS)


def _words_of(error: BaseException) -> str:
    """Return an exception's text; an exception class of a tool may fail even at that."""
    try:
        return str(error)
    except BaseException:  # noqa: BLE001 (whatever it is, there is no text)
        return "(its text cannot be read)"


def _text_of(result: object) -> str:
    """Return a tool's result as the text that the model gets.

    Raises:
        TypeError: It has no JSON form.
    """
    if isinstance(result, str):
        return result
    try:
        return _any_type().dump_json(result).decode()
    except ValueError as error:
        raise TypeError(f"it returned {type(result).__name__}, which has no JSON form") from error


@cache
def _any_type() -> TypeAdapter[Any]:
    """Return an encoder of any value as JSON; the first tool has already imported pydantic."""
    from pydantic import TypeAdapter

    return TypeAdapter(Any)
