"""What may import and do what: rules of the whole, read from the source."""

from __future__ import annotations

import ast
from functools import cache
from graphlib import CycleError, TopologicalSorter

import pytest

from tests.support.programs import ROOT

FOLDERS = {"dripline": ROOT / "client/dripline", "dripline_server": ROOT / "server/dripline_server"}
HTTP = ("aiohttp", "multidict", "yarl", "http", "httptools", "ollama", "dripline_server.routes")

# What is in the first, and all that it imports, imports nothing of the second.
APART = {
    "dripline": ("dripline_server",),
    "dripline.sse": (*HTTP, "asyncio", "socket", "ssl"),
    "dripline.events": (*HTTP, "asyncio", "socket", "ssl"),
    "dripline_server.dialects": HTTP,
    "dripline_server.run_log": HTTP,
}

# Only modules whose names end so use these names.
ONLY = {
    "os.environ": (".settings",),
    "os.environb": (".settings",),
    "os.getenv": (".settings",),
    "print": ("cli",),
    "sys.stdout": ("cli", ".terminal.plain_output", ".terminal.clipboard"),
    "sys.stderr": ("cli", ".terminal.plain_output"),
}


@cache
def modules() -> dict[str, ast.Module]:
    """Every module of both packages, by name."""
    return {
        ".".join([package, *path.relative_to(folder).with_suffix("").parts]).removesuffix(
            ".__init__"
        ): ast.parse(path.read_text())
        for package, folder in FOLDERS.items()
        for path in sorted(folder.rglob("*.py"))
    }


@cache
def imported(module: str) -> frozenset[str]:
    """The names of the modules that a module imports, also within its functions."""
    found = set()
    for node in ast.walk(modules()[module]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            assert node.module, f"{module}: a relative import"
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= inner & modules().keys() or {node.module}
    return frozenset(found)


def reached(module: str) -> dict[str, str]:
    """The modules that a module imports, and those that these do, each with who imports it."""
    found: dict[str, str] = {}
    ways = [(module, module)]
    while ways:
        name, by = ways.pop()
        if name not in found:
            found[name] = by
            ways += [(inner, name) for inner in imported(name)] if name in modules() else []
    return found


def within(name: str, package: str) -> bool:
    """Whether a module is a package, or is in it."""
    return name == package or name.startswith(f"{package}.")


def test_nothing_imports_in_a_circle() -> None:
    """Not within functions either, nor for type checkers alone."""
    graph = {name: imported(name) & modules().keys() - {name} for name in modules()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


@pytest.mark.parametrize("package", APART)
def test_what_is_apart(package: str) -> None:
    """A module knows nothing of what it has nothing to do with, nor do those that it uses."""
    inner = [name for name in modules() if within(name, package)]
    assert inner
    for module in inner:
        for name, by in reached(module).items():
            wrong = [far for far in APART[package] if within(name, far)]
            assert not wrong, f"{module}: {by} imports {name}"


@pytest.mark.parametrize("used", ONLY)
def test_what_few_may_do(used: str) -> None:
    """Settings read the environment, and commands print."""
    users = {
        module
        for module, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute | ast.Name) and ast.unparse(node) == used
    }
    assert [module for module in users if not module.endswith(ONLY[used])] == []
