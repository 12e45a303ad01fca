"""Loads the server's tools from the modules that `--tools` names."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Iterable
from typing import Any

from dripline.tool import BadTool, Tool, ToolFunction, as_tools


def load_tools(modules: str) -> list[Tool]:
    """Return the tools of modules, such as "tools.weather,tools.time".

    A module's tools are its public functions: those in `__all__`, or else all functions that the
    module itself defines without a leading underscore. `Tool` objects count as well. Modules in the
    current folder are found first.

    Raises:
        BadTool: A module cannot be imported or has no tools, or a function cannot be a tool.
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


def tool_names(tools: Iterable[dict[str, Any]]) -> Iterable[str]:
    """Yield the names of the tools in Ollama's `tools` field."""
    for tool in tools:
        function = tool.get("function")
        if isinstance(function, dict):
            yield str(function.get("name", ""))
