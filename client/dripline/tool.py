"""Python functions as tools of the client's: `ChatClient.chat(..., tools=[function])`.

A tool is a function with type hints, a coroutine function or not; its docstring tells the model
what it does. Parameters may be `str`, `int`, `float`, `bool`, `list[...]` and `dict[str, ...]` of
these, `Literal[...]`, `Any`, and each of them `| None`. What it returns goes to the model: a string
as it is, anything else as JSON.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Union

import orjson

from dripline.events import ToolCall, ToolResult

logger = logging.getLogger(__name__)

ToolFunction = Callable[..., Any]

_PLAIN: dict[Any, str] = {str: "string", int: "integer", float: "number", bool: "boolean"}


class ClientTool:
    """A function that the model may call.

    Args:
        function: See the module.

    Attributes:
        name: The function's.
        schema: What the model is told, as Ollama's `tools` take it.

    Raises:
        TypeError: The function cannot be a tool; names the parameter and says why.
    """

    def __init__(self, function: ToolFunction) -> None:
        self.name = str(getattr(function, "__name__", function))
        self._function = function
        self._hints = _hints(function, self.name)
        about, of_parameters = _described(inspect.getdoc(function) or "")
        parameters = inspect.signature(function).parameters.values()
        self._required = [one.name for one in parameters if one.default is one.empty]
        properties = {
            name: _schema(hint, f"{self.name}: the parameter {name!r}")
            | ({"description": of_parameters[name]} if name in of_parameters else {})
            for name, hint in self._hints.items()
        }
        self.schema: dict[str, Any] = {
            "type": "function",
            "function": {
                "name": self.name,
                "description": about,
                "parameters": {
                    "type": "object",
                    "properties": properties,
                    "required": self._required,
                },
            },
        }

    async def call(self, call: ToolCall) -> ToolResult:
        """Return what the function gives, or its error for the model. Raises only if cancelled.

        A function that is no coroutine function is called in a thread; cancelled, that goes on.
        """
        if wrong := why_unreadable(call) or self._wrong(call.arguments):
            return ToolResult(call.id, call.name, wrong, failed=True)
        try:
            if inspect.iscoroutinefunction(self._function):
                given = await self._function(**call.arguments)
            else:
                given = await asyncio.to_thread(self._function, **call.arguments)
            content = given if isinstance(given, str) else orjson.dumps(given).decode()
            failed = False
        except Exception as error:
            logger.exception("the tool %s failed", self.name)
            content, failed = f"{type(error).__name__}: {error}", True
        # A lone surrogate, of a file's name perhaps, is not JSON.
        told = content.encode("utf-8", "replace").decode()
        return ToolResult(call.id, call.name, told, failed=failed)

    def _wrong(self, arguments: Mapping[str, Any]) -> str:
        """Return what is wrong with the arguments, for the model; "" where nothing is."""
        missing = [f"{name}: is missing" for name in self._required if name not in arguments]
        unknown = [f"{name}: there is no such parameter" for name in arguments.keys() - self._hints]
        wrong = [
            f"{name}: should be {orjson.dumps(_schema(hint, name)).decode()}"
            for name, hint in self._hints.items()
            if name in arguments and not _fits(arguments[name], hint)
        ]
        return "; ".join(missing + unknown + wrong)


def _hints(function: ToolFunction, name: str) -> dict[str, Any]:
    """Return the types of the parameters, in their order."""
    try:
        hints = typing.get_type_hints(function)
        parameters = inspect.signature(function).parameters.values()
    except Exception as error:
        raise TypeError(f"{name} cannot be a tool: {error}") from error
    for parameter in parameters:
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise TypeError(f"{name}: the parameter {parameter} cannot be given by its name")
        if parameter.name not in hints:
            raise TypeError(f"{name}: the parameter {parameter.name!r} has no type hint")
    return {parameter.name: hints[parameter.name] for parameter in parameters}


def _schema(hint: Any, where: str) -> dict[str, Any]:
    """Return the JSON schema of a type."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return {}
    if hint is types.NoneType:
        return {"type": "null"}
    if hint in _PLAIN:
        return {"type": _PLAIN[hint]}
    if origin in (Union, types.UnionType):
        return {"anyOf": [_schema(one, where) for one in arguments]}
    if origin is Literal and all(isinstance(one, str | int) for one in arguments):
        return {"enum": list(arguments)}
    if origin is list and arguments:
        return {"type": "array", "items": _schema(arguments[0], where)}
    if origin is dict and arguments[:1] == (str,):
        return {"type": "object", "additionalProperties": _schema(arguments[1], where)}
    raise TypeError(
        f"{where} has a type that is not supported, {hint!r}; see dripline.tool, or give its JSON"
        " schema as a mapping and answer the tool_call yourself"
    )


def why_unreadable(call: ToolCall) -> str:
    """Return what is wrong with arguments that cannot be read, for the model; "" where they can."""
    if not call.unreadable:
        return ""
    return f"the arguments are not a JSON object: {call.unreadable[:MAX_UNREADABLE_SHOWN]}"


def _fits(value: Any, hint: Any) -> bool:
    """Return whether a JSON value is of a type that `_schema` takes."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return True
    if hint is float:
        return type(value) in (int, float)
    if hint in _PLAIN or hint is types.NoneType:
        return type(value) is hint
    if origin is Literal:
        return any(type(value) is type(one) and value == one for one in arguments)
    if origin is list:
        return type(value) is list and all(_fits(one, arguments[0]) for one in value)
    if origin is dict:
        return type(value) is dict and all(_fits(one, arguments[1]) for one in value.values())
    return any(_fits(value, one) for one in arguments)


# Of arguments that cannot be read, in characters.
MAX_UNREADABLE_SHOWN = 500

_SECTION = re.compile(r"^(?:Args|Arguments|Returns|Yields|Raises|Examples?|Notes?):", re.M)
_PARAMETER = re.compile(r"^ +(\w+)(?: \([^)]*\))?: +(.*(?:\n {8,}.*)*)", re.M)


def _described(docstring: str) -> tuple[str, dict[str, str]]:
    """Return what a Google-style docstring says of a function, and of each parameter."""
    about = _SECTION.split(docstring)[0].strip()
    match = re.search(r"^(?:Args|Arguments):\n((?:(?: .*)?\n?)*)", docstring, re.M)
    found = _PARAMETER.findall(match[1]) if match else []
    return about, {name: " ".join(text.split()) for name, text in found}


def split_tools(
    tools: Sequence[Mapping[str, Any] | ToolFunction],
) -> tuple[list[Mapping[str, Any]], dict[str, ClientTool]]:
    """Return the tools that are schemas already, and by name those that are functions.

    Raises:
        TypeError: A function cannot be a tool, or two have one name.
    """
    schemas: list[Mapping[str, Any]] = []
    functions: dict[str, ClientTool] = {}
    for one in tools:
        if isinstance(one, Mapping):
            schemas.append(one)
            continue
        tool = ClientTool(one)
        if tool.name in functions:
            raise TypeError(f"{tool.name}: two tools have this name")
        functions[tool.name] = tool
    return schemas, functions
