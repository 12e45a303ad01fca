"""Tools of the server's: Python functions that models may call. This is public API.

A tool is a function with type hints and a docstring::

    def population(city: str, year: int = 2026) -> int:
        '''Return how many people live in a city.

Args:
            city: Its English name.
            year: Of which year.
        '''
        ...

Give it to `create_app(settings, tools=[population])` or name its module with `--tools`. Models are
told its name, its docstring and its parameters, and what they call it with is checked against the
type hints first. It may be a coroutine function, which must not block the event loop; any other is
called in a thread of its own.

What it returns goes to the model: a string as it is, anything else as JSON. What it raises is told
to the model as "ValueError: ...", and its traceback is logged; `ToolError` is for what is the
model's to mend: its text alone is told. Both are in the stream for the client to read.
"""

from __future__ import annotations

import importlib
import inspect
import sys
import typing
import warnings
from collections.abc import Iterable, Mapping
from typing import Any, NotRequired

import pydantic
from ollama._utils import convert_function_to_tool
from pydantic.errors import PydanticUserError
from typing_extensions import TypedDict

from dripline.tool import ToolFunction


class ToolError(Exception):
    """What a tool raises to tell the model what is wrong; the text is for the model."""


class BadTool(ValueError):
    """A function cannot be a tool; the message names it and says why."""


class Tool:
    """A function that models may call.

    Args:
        function: With type hints and a docstring; see the module.
        timeout: Seconds that a call may take; None takes the server's `--tool-timeout`.

    Attributes:
        name: The function's.
        schema: What models are told, as Ollama's `tools` take it.

    Raises:
        BadTool: The function cannot be a tool.
    """

    def __init__(self, function: ToolFunction, *, timeout: float | None = None) -> None:
        self.function = function
        self.timeout = timeout
        self.name = str(getattr(function, "__name__", function))
        if not inspect.getdoc(function):
            raise BadTool(f"{self.name}: it has no docstring; models read it to know what it does")
        signature = _typed_signature(function, self.name)
        try:
            self._arguments = _arguments_of(signature)
            self.schema = _schema(function, signature, self._arguments)
        except PydanticUserError as error:
            raise BadTool(f"{self.name}: {error.message.splitlines()[0]}") from error

    def check(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments as the type hints want them.

        Raises:
            ToolError: They do not fit; says which and why.
        """
        try:
            return self._arguments.validate_python(dict(arguments))
        except pydantic.ValidationError as error:
            wrong = error.errors(include_url=False, include_input=False)
            said = (f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in wrong)
            raise ToolError("; ".join(said)) from error

    def __repr__(self) -> str:
        return f"Tool({self.name})"


def as_tools(functions: Iterable[ToolFunction | Tool]) -> list[Tool]:
    """Return the tools that functions are.

    Raises:
        BadTool: One cannot be a tool, or two have one name.
    """
    tools = [one if isinstance(one, Tool) else Tool(one) for one in functions]
    names = [tool.name for tool in tools]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise BadTool(f"{twice}: two tools have this name")
    return tools


def load_tools(modules: str) -> list[Tool]:
    """Return the tools of modules, such as "tools.weather,tools.time".

    A module's tools are its public functions: those that `__all__` names, or else all that it
    defines itself without a leading underscore. A `Tool` is taken too. Modules are looked for in
    the current folder first.

    Raises:
        BadTool: A module cannot be imported, or has no tools, or one cannot be a tool.
    """
    names = [name for part in modules.split(",") if (name := part.strip())]
    if names and "" not in sys.path:
        sys.path.insert(0, "")
    return as_tools(function for name in names for function in _public_functions(name))


def _public_functions(name: str) -> list[ToolFunction | Tool]:
    try:
        module = importlib.import_module(name)
    except Exception as error:
        raise BadTool(f"{name} cannot be imported: {type(error).__name__}: {error}") from error
    named = getattr(module, "__all__", None)
    members = {one: getattr(module, one) for one in named} if named else vars(module)
    found: list[ToolFunction | Tool] = [
        value
        for key, value in members.items()
        if not key.startswith("_")
        and (
            isinstance(value, Tool)
            or (inspect.isfunction(value) and (named or value.__module__ == module.__name__))
        )
    ]
    if not found:
        raise BadTool(f"{name} has no public function")
    return found


def _typed_signature(function: ToolFunction, name: str) -> inspect.Signature:
    """Return the signature with its type hints as types, though they may be written as strings."""
    try:
        signature = inspect.signature(function)
        hints = typing.get_type_hints(function, include_extras=True)
    except Exception as error:
        raise BadTool(f"{name}: its type hints cannot be read: {error}") from error
    parameters = []
    for parameter in signature.parameters.values():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise BadTool(f"{name}: {parameter} cannot be given by its name")
        if parameter.name not in hints:
            raise BadTool(f"{name}: the parameter {parameter.name!r} has no type hint")
        parameters.append(parameter.replace(annotation=hints[parameter.name]))
    return signature.replace(parameters=parameters)


def _arguments_of(signature: inspect.Signature) -> pydantic.TypeAdapter[dict[str, Any]]:
    """Return what checks arguments. Not a model: a parameter may have any name."""
    fields = {
        parameter.name: parameter.annotation
        if parameter.default is parameter.empty
        else NotRequired[parameter.annotation]
        for parameter in signature.parameters.values()
    }
    make: Any = TypedDict
    kind = make("arguments", fields)
    kind.__pydantic_config__ = pydantic.ConfigDict(extra="forbid")
    return pydantic.TypeAdapter(kind)


def _schema(
    function: ToolFunction,
    signature: inspect.Signature,
    arguments: pydantic.TypeAdapter[dict[str, Any]],
) -> dict[str, Any]:
    """Return the schema that the `ollama` package makes, with what it leaves out of parameters.

    It knows no defaults, so that all would be required, and drops choices and the types in lists.
    """

    def described() -> None: ...

    described.__name__ = getattr(function, "__name__", "")
    described.__doc__ = inspect.getdoc(function)
    described.__signature__ = signature  # type: ignore[attr-defined]
    with warnings.catch_warnings():  # of parameters that are named as a pydantic model's method is
        warnings.simplefilter("ignore")
        schema: dict[str, Any] = convert_function_to_tool(described).model_dump(exclude_none=True)
    told = schema["function"]["parameters"]["properties"]
    exact = _untitled(arguments.json_schema())
    exact.pop("additionalProperties", None)
    for name, parameter in exact.get("properties", {}).items():
        if about := told[name].get("description", "").strip():
            parameter["description"] = about
    schema["function"]["description"] = schema["function"].get("description", "").strip()
    schema["function"]["parameters"] = {"required": [], "properties": {}, **exact}
    return schema


def _untitled(schema: Any) -> Any:
    """Return a schema without pydantic's titles: they repeat names, and cost tokens."""
    if isinstance(schema, list):
        return [_untitled(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    # Under "properties" a "title" is a parameter's name.
    return {
        key: {name: _untitled(inner) for name, inner in value.items()}
        if key == "properties"
        else _untitled(value)
        for key, value in schema.items()
        if not (key == "title" and isinstance(value, str))
    }


def tool_names(tools: Iterable[dict[str, Any]]) -> Iterable[str]:
    """Give the names of tools as Ollama's `tools` has them."""
    for tool in tools:
        function = tool.get("function")
        if isinstance(function, dict):
            yield str(function.get("name", ""))
