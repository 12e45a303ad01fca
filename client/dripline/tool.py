"""Python functions as tools that models call, on the server and in the client.

Give them to `create_app(settings, tools=[...])`, to `--tools`, or to
`ChatClient.chat(..., tools=[...])`. A tool is a function with type hints; its docstring tells the
model what it does::

    def population(city: str, year: int = 2026) -> int:
        '''Return how many people live in a city.

Args:
            city: Its English name.
            year: Of which year.
        '''
        ...

The model sees the function's name, its docstring and its parameters. pydantic checks the arguments
of a call and converts them to the type hints: "5" becomes 5 for an `int`, and an ISO date becomes a
`date`. Dataclasses, enums, `TypedDict`s and pydantic models work too. If the arguments do not fit,
the function is not called, and the model gets an explanation.

A coroutine function runs in the event loop and must not block it; any other function runs in a
thread. The model gets a returned string as it is, and any other result as JSON. An exception is
logged, and the model gets "ValueError: ...". Raise `ToolError` for mistakes that the model can fix;
it sees only the text.
"""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NotRequired

from dripline.events import ToolCall

if TYPE_CHECKING:
    import pydantic

# pydantic is imported only when the first tool is created: importing it needs 0.08 s of CPU time,
# and most programs that import dripline have no tools. msgspec needs only 0.02 s, but it rejects
# `date | str`, unions of dataclasses, `Path`, and pydantic's models and `Field`s, which existing
# tools use. A checker of our own would grow into another pydantic.

ToolFunction = Callable[..., Any]
# In characters: how much of its unreadable arguments the model gets to see.
MAX_UNREADABLE_SHOWN = 500


class ToolError(Exception):
    """Raise it in a tool for a mistake that the model can fix; the model sees only the text."""


class BadTool(TypeError, ValueError):
    """A function cannot be a tool; the message names the function and says why."""


class Tool:
    """A function that models may call.

    Args:
        function: A function with type hints; see `dripline.tool`.
        timeout: The limit for a call, in seconds. With None, the server uses `--tool-timeout`, and
            the client has no limit.

    Attributes:
        name: The function's name.
        schema: The description that the model gets, as an entry of Ollama's `tools`.

    Raises:
        BadTool: The function cannot be a tool.
        ValueError: `timeout` is not above 0.
    """

    def __init__(self, function: ToolFunction, *, timeout: float | None = None) -> None:
        if timeout is not None and not timeout > 0:
            raise ValueError(f"timeout must be above 0 seconds, not {timeout}")
        self.function = function
        self.timeout = timeout
        self.name: str = _name_of(function)
        hints = _typed_parameters(function, self.name)
        self._arguments = _arguments_checker(hints, self.name)
        self.schema: dict[str, Any] = _schema(
            self.name, inspect.getdoc(function) or "", self._arguments
        )

    def check(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments of a call, converted to the type hints.

        Raises:
            ToolError: They do not fit; the text names each wrong argument and its problem.
        """
        from pydantic import ValidationError

        try:
            return self._arguments.validate_python(dict(arguments))
        except ValidationError as error:
            wrong = error.errors(include_url=False, include_input=False)
            said = (f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in wrong)
            raise ToolError("; ".join(said)) from error

    def __repr__(self) -> str:
        return f"Tool({self.name})"


def as_tools(functions: Iterable[ToolFunction | Tool]) -> list[Tool]:
    """Return a tool for each function; tools are returned unchanged.

    Raises:
        BadTool: A function cannot be a tool, or two have the same name.
    """
    tools = [one if isinstance(one, Tool) else Tool(one) for one in functions]
    names = [tool.name for tool in tools]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise BadTool(f"{twice}: two tools have this name")
    return tools


def split_tools(
    tools: Iterable[Mapping[str, Any] | ToolFunction | Tool],
) -> tuple[list[Mapping[str, Any]], dict[str, Tool]]:
    """Split tools into JSON schemas and functions; return the functions as tools by name.

    Raises:
        BadTool: A function cannot be a tool, or two have the same name.
    """
    schemas: list[Mapping[str, Any]] = []
    functions: list[ToolFunction | Tool] = []
    for one in tools:
        if isinstance(one, Mapping):
            schemas.append(one)
        else:
            functions.append(one)
    return schemas, {tool.name: tool for tool in as_tools(functions)}


def why_unreadable(call: ToolCall) -> str:
    """Explain to the model why its arguments cannot be read; "" if they can."""
    if not call.unreadable:
        return ""
    return f"the arguments are not a JSON object: {call.unreadable[:MAX_UNREADABLE_SHOWN]}"


def _name_of(function: object) -> str:
    name = getattr(function, "__name__", "")
    if not callable(function) or not name:
        raise BadTool(f"{function!r} cannot be a tool: it is not a function with a name")
    if not str(name).isidentifier():
        raise BadTool(f"{name}: a model cannot call it by this name; define it with def")
    return str(name)


def _typed_parameters(function: ToolFunction, name: str) -> dict[str, Any]:
    """Return each parameter's type hint; `NotRequired` marks those with a default."""
    try:
        hints = typing.get_type_hints(function, include_extras=True)
        parameters = inspect.signature(function).parameters.values()
    except Exception as error:
        raise BadTool(f"{name}: its type hints cannot be read: {error}") from error
    typed = {}
    for parameter in parameters:
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise BadTool(f"{name}: the parameter {parameter} cannot be passed by its name")
        if parameter.name not in hints:
            raise BadTool(f"{name}: the parameter {parameter.name!r} has no type hint")
        hint = hints[parameter.name]
        typed[parameter.name] = hint if parameter.default is parameter.empty else NotRequired[hint]
    return typed


def _arguments_checker(hints: dict[str, Any], name: str) -> pydantic.TypeAdapter[dict[str, Any]]:
    """Return a checker for the arguments of calls.

    It is built on a `TypedDict`, because a pydantic model allows no field named `_x`, `schema` or
    `copy`.
    """
    from pydantic import ConfigDict, TypeAdapter
    from typing_extensions import TypedDict

    make: Any = TypedDict
    kind = make("arguments", hints)
    kind.__pydantic_config__ = ConfigDict(extra="forbid")
    try:
        checker: TypeAdapter[dict[str, Any]] = TypeAdapter(kind)
        checker.json_schema()
    except Exception as error:
        raise BadTool(f"{name}: {_unsupported(hints) or error}") from error
    return checker


def _unsupported(hints: dict[str, Any]) -> str:
    """Name the parameter whose type has no JSON form and say so; "" if none is found."""
    from pydantic import TypeAdapter

    for parameter, hint in hints.items():
        kind = typing.get_args(hint)[0] if typing.get_origin(hint) is NotRequired else hint
        try:
            TypeAdapter(kind).json_schema()
        except Exception:  # noqa: BLE001 (whatever pydantic or the type itself raises)
            shown = getattr(kind, "__qualname__", kind)
            return f"the parameter {parameter!r} cannot be passed as JSON: its type is {shown}"
    return ""


def _schema(
    name: str, docstring: str, arguments: pydantic.TypeAdapter[dict[str, Any]]
) -> dict[str, Any]:
    """Return a tool as an entry of Ollama's `tools`."""
    about, of_parameters = _described(docstring)
    whole = arguments.json_schema()
    definitions = whole.pop("$defs", {})
    properties = {
        parameter: {"description": of_parameters[parameter], **found}
        if parameter in of_parameters
        else found
        for parameter, found in whole.get("properties", {}).items()
    }
    parameters = {
        "type": "object",
        "properties": {
            parameter: _plain(found, definitions) for parameter, found in properties.items()
        },
        "required": whole.get("required", []),
    }
    told = {"name": name, "description": about, "parameters": parameters}
    return {"type": "function", "function": told}


def _plain(schema: Any, definitions: Mapping[str, Any], within: tuple[str, ...] = ()) -> Any:
    """Rewrite a schema with only the keywords that Ollama passes on to models.

    Ollama silently drops `$ref` and `const`, so the model would not see those parts. pydantic's
    titles and "additionalProperties": false are left out because they only cost tokens.

    Args:
        schema: The schema, or a value inside one.
        definitions: The targets of its `$ref`s.
        within: The definitions that enclose it. One that contains itself cannot be written out, so
            the inner one becomes a schema that allows anything.
    """
    if isinstance(schema, list):
        return [_plain(item, definitions, within) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if reference := schema.get("$ref"):
        name = reference.removeprefix("#/$defs/")
        found = {} if name in within else definitions[name]
        rest = {key: value for key, value in schema.items() if key != "$ref"}
        return _plain({**found, **rest}, definitions, (*within, name))
    plain: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "properties":  # these keys are parameter names; one may be called "title"
            plain[key] = {name: _plain(inner, definitions, within) for name, inner in value.items()}
        elif key == "const":
            plain["enum"] = [value]
        elif value is not False and not (key == "title" and isinstance(value, str)):
            plain[key] = _plain(value, definitions, within)
    return plain


_SECTION = re.compile(r"^(?:Args|Arguments|Returns|Yields|Raises|Examples?|Notes?):", re.M)
_PARAMETER = re.compile(r"^( +)\*{0,2}(\w+)(?: \([^)]*\))?:(.*(?:\n(?:\1 +\S.*)?)*)", re.M)


def _described(docstring: str) -> tuple[str, dict[str, str]]:
    """Return what a Google-style docstring says about the function and each parameter."""
    about = _SECTION.split(docstring)[0].strip()
    match = re.search(r"^(?:Args|Arguments):\n((?:(?: .*)?\n?)*)", docstring, re.M)
    found = _PARAMETER.findall(match[1]) if match else []
    return about, {name: said for _, name, text in found if (said := " ".join(text.split()))}
