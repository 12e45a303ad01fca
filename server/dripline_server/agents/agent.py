"""An agent: a function of the user's that answers chats, checked when the server starts."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Mapping
from contextlib import aclosing
from functools import partial
from typing import Any

from dripline_server.agents.agent_chat import Chat
from dripline_server.agents.threads import iterate_in_thread
from dripline_server.settings import BadSetting

# An async generator function, or a coroutine function that returns a str, or a function or a
# generator function that is run in a thread.
AgentFunction = Callable[[Chat], object]

# Like the name of a model, without the ":" that separates a model's tag.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*", re.ASCII)
MAX_NAME = 100
MAX_DESCRIPTION = 300
# What `start` calls Ollama's models.
RESERVED = "ollama"


class AgentError(Exception):
    """Raise it in an agent for a failure that the user should read about.

    The run ends as `agent_failed` with this message. The message of any other exception goes only
    to the server's log.

    Args:
        message: What happened and what to do, for the user.
        retryable: Whether the same request can succeed later.
    """

    def __init__(self, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.retryable = retryable


class BadAgent(BadSetting, TypeError):
    """Something cannot be an agent; the message names it and says why."""


class Agent:
    """A function under the name by which chats ask for it.

    Args:
        name: The name.
        function: The function.

    Attributes:
        description: The first line of the function's docstring; "" if it has none.
        in_thread: Whether the function runs in a thread of its own.

    Raises:
        BadAgent: The name or the function is of no use.
    """

    def __init__(self, name: str, function: AgentFunction) -> None:
        _check_name(name)
        if isinstance(function, type) or not callable(function):
            raise BadAgent(f"{name}: {function!r} cannot be an agent: it is not a function")
        try:
            inspect.signature(function).bind(object())
        except TypeError as error:
            raise BadAgent(f"{name}: it must accept one argument, the chat: {error}") from error
        except ValueError:  # it has no signature, so the first chat will tell
            pass
        self.name = name
        self.description = _description(function)
        self._function = function
        self._generates = _is(function, inspect.isasyncgenfunction)
        self.in_thread = not (self._generates or _is(function, inspect.iscoroutinefunction))

    def answer(self, chat: Chat) -> AsyncGenerator[object]:
        """Return a generator of what the function yields, or of the one thing that it returns.

        Closing the generator closes the function's own. If the function runs in a thread, closing
        waits until it returns; cancelling that wait leaves the thread running. It raises what the
        function raises, and `NotAnAnswer`.
        """
        if self._generates:
            made: Any = self._function(chat)
            answer: AsyncGenerator[object] = made
            return answer
        return self._in_thread(chat) if self.in_thread else self._from(self._function(chat))

    async def _in_thread(self, chat: Chat) -> AsyncGenerator[object]:
        async with aclosing(iterate_in_thread(self.name, self._function, chat)) as items:
            async for item, yielded in items:
                if yielded:
                    yield item
                    continue
                async with aclosing(self._from(item)) as inner:
                    async for one in inner:
                        yield one

    async def _from(self, made: object) -> AsyncGenerator[object]:
        """Yield what is in something that the function has returned."""
        if inspect.isawaitable(made):
            made = await made
        if isinstance(made, AsyncGenerator):
            async with aclosing(made):
                async for item in made:
                    yield item
        elif isinstance(made, AsyncIterable):
            async for item in made:
                yield item
        elif isinstance(made, str):
            yield made
        else:
            raise NotAnAnswer(f"returned an object of type {type(made).__name__}, not a str")

    def __repr__(self) -> str:
        return f"Agent({self.name})"


class NotAnAnswer(Exception):
    """An agent returned something that is no answer; the message completes "The agent x ..."."""


def as_agents(functions: Mapping[str, AgentFunction]) -> dict[str, Agent]:
    """Return an agent for each function, by name.

    Raises:
        BadAgent: A name or a function is of no use.
    """
    return {name: Agent(name, function) for name, function in functions.items()}


def load_agents(modules: str) -> dict[str, AgentFunction]:
    """Return the agents of modules, such as "my.agents,other".

    A module's agents are its public async generator functions: those in `__all__`, or else those
    that the module itself defines without a leading underscore. In `__all__` any kind of agent
    counts. Modules in the current folder are found first.

    Raises:
        BadAgent: A module cannot be imported, has no agents, or two agents have the same name.
    """
    names = [name for part in modules.split(",") if (name := part.strip())]
    if names and "" not in sys.path:
        sys.path.insert(0, "")
    found: dict[str, AgentFunction] = {}
    for module in names:
        for name, function in _public_agents(module):
            if name in found:
                raise BadAgent(f"{name}: two agents have this name")
            found[name] = function
    return found


def _public_agents(name: str) -> Iterable[tuple[str, AgentFunction]]:
    try:
        module = importlib.import_module(name)
        named = getattr(module, "__all__", None)
        members = {one: getattr(module, one) for one in named} if named else vars(module)
    except Exception as error:
        raise BadAgent(f"{name} cannot be imported: {type(error).__name__}: {error}") from error
    found = [
        (key, value)
        for key, value in members.items()
        if not key.startswith("_")
        and (
            callable(value) and not isinstance(value, type)
            if named
            else inspect.isasyncgenfunction(value) and value.__module__ == module.__name__
        )
    ]
    if not found:
        raise BadAgent(f"{name} has no public async generator function")
    return found


def _check_name(name: object) -> None:
    if not isinstance(name, str):
        raise BadAgent(f"{name!r}: an agent's name is a str")
    if not _NAME.fullmatch(name) or len(name) > MAX_NAME:
        raise BadAgent(
            f"{name[:MAX_NAME]!r}: an agent's name has letters, digits and . _ - / only, begins"
            f" with a letter, digit or _, and has at most {MAX_NAME} characters"
        )
    if name == RESERVED:
        raise BadAgent(f"{name}: this is what runs call Ollama's models; choose another name")


def _description(function: AgentFunction) -> str:
    while isinstance(function, partial):
        function = function.func
    own = getattr(function, "__doc__", None)
    if not inspect.isroutine(function):  # an object's class has the docstring
        own = type(function).__doc__
    text = inspect.cleandoc(own) if isinstance(own, str) else ""
    return text.split("\n")[0].strip()[:MAX_DESCRIPTION]


def _is(function: AgentFunction, *kinds: Callable[[object], bool]) -> bool:
    while isinstance(function, partial):
        function = function.func
    called = getattr(function, "__call__", None)  # noqa: B004 (an object's own method)
    return any(kind(one) for kind in kinds for one in (function, called))
