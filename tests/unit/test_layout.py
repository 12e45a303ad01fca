"""What may import and do what: rules of the whole, read from the source."""

from __future__ import annotations

import ast
import configparser
import re
import sys
from collections import Counter, defaultdict
from functools import cache
from graphlib import CycleError, TopologicalSorter
from importlib import import_module

import pytest

from tests.support.programs import ROOT

FOLDERS = {"dripline": ROOT / "client/dripline", "dripline_server": ROOT / "server/dripline_server"}
HTTP = (
    *("aiohttp", "multidict", "yarl", "http", "httptools", "ollama"),
    *("dripline.http", "dripline_server.routes"),
)

# What is in the first, and all that it imports, imports nothing of the second.
APART = {
    "dripline.sse": (*HTTP, "asyncio", "socket", "ssl"),
    "dripline.events": (*HTTP, "asyncio", "socket", "ssl"),
    "dripline_server.dialects": HTTP,
    "dripline_server.run_log": HTTP,
}

SETTINGS = (".settings", ".client_settings", ".environment")
COMMANDS = (
    "cli",
    ".cli.main",
    ".cli.ask_actions",
    ".cli.model_actions",
    ".cli.recording_actions",
    ".cli.fake_command",
)

# Only modules whose names end so use these names.
ONLY = {
    "os.environ": SETTINGS,
    "os.environb": SETTINGS,
    "os.getenv": SETTINGS,
    "print": COMMANDS,
    "sys.stdout": (*COMMANDS, ".terminal.plain_output", ".terminal.clipboard"),
    "sys.stderr": (*COMMANDS, ".terminal.plain_output"),
}

# The documented imports; all else may move between versions.
PUBLIC = ("dripline", "dripline.testing", "dripline_server", "dripline_server.agents")
# Its fixture `chat_server` is the one thing in the library that needs the server.
PLUGIN = "dripline.testing.pytest_plugin"
MOST_FILES = 24
CODE = (".py", ".js", ".css", ".html")


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


def room(module: str) -> str:
    """The folder below a package that a module is in, or the module itself where it is in none."""
    return ".".join(module.split(".")[:2])


def test_no_arrow_back_between_rooms() -> None:
    """The folders of a package stand on floors: none uses a folder that uses it."""
    graph: dict[str, set[str]] = {}
    for module in modules().keys() - {PLUGIN}:
        inner = {room(name) for name in imported(module) & modules().keys()}
        graph.setdefault(room(module), set()).update(inner - {room(module), *FOLDERS})
    for package in FOLDERS:
        graph.pop(package)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


def test_the_library_knows_no_server() -> None:
    """`dripline` works without the server; the fixture `chat_server` alone asks for it."""
    users = {
        module
        for module in modules()
        if within(module, "dripline")
        if any(within(name, "dripline_server") for name in imported(module))
    }
    assert users == {PLUGIN}


@pytest.mark.parametrize(
    "folder", ["client", "server", "tests/http", "tests/unit", "tests/browser"]
)
def test_a_folder_can_be_read(folder: str) -> None:
    """No folder shows more files of code than one can take in."""
    listed = [ROOT / folder, *(inner for inner in (ROOT / folder).rglob("*") if inner.is_dir())]
    for inner in listed:
        files = [file for file in inner.iterdir() if file.suffix in CODE]
        if "node_modules" not in inner.parts:
            assert len(files) <= MOST_FILES, f"{inner.relative_to(ROOT)}: {len(files)} files"


# Modules of one name, and why.
NAMESAKES = {
    "cli": "each package's command",
    "agui": "the dialect, and the endpoint that speaks it",
    "openai": "the dialect, and the endpoint that speaks it",
    "ui_message": "the dialect, and the endpoint that speaks it",
    "chat": "the library's chats, and the endpoint that starts one",
    "runs": "the server's runs, and the endpoints that lead to one",
}
# Which part of setup.cfg installs what a module imports, beside the base: by the module's package.
PARTS = {
    "dripline.cli.terminal": "terminal",
    "dripline.chat.structured": "format",
    "dripline.recordings.plot": "plot",
    "dripline_server": "server",
    "dripline_server.run_log.redis": "redis",
    "dripline_server.agents.agui_events": "agui",
    "dripline_server.agents.yielded": "agui",
    "dripline_server.routes.agui": "agui",
    "dripline_server.routes.agui_input": "agui",
}
# pytest loads this module itself, and so does it pytest-asyncio.
TEST_TOOLS = {PLUGIN: {"pytest", "pytest_asyncio"}}
# Of packages that are installed by another name.
DISTRIBUTIONS = {"ag_ui": "ag_ui_protocol", "markdown_it": "markdown_it_py"}
DISTRIBUTION = re.compile(r"[\w.-]+")


def declared(part: str) -> set[str]:
    """Return what setup.cfg installs for a part; "" is the base."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    listed = (
        config["options.extras_require"][part] if part else config["options"]["install_requires"]
    )
    found = filter(None, map(DISTRIBUTION.match, listed.splitlines()))
    return {match[0].lower().replace("-", "_") for match in found}


@pytest.mark.parametrize("package", FOLDERS)
def test_every_import_is_declared(package: str) -> None:
    """By setup.cfg: what a dependency happens to bring may go with its next version."""
    for module in (name for name in modules() if within(name, package)):
        parts = {"", *(part for name, part in PARTS.items() if within(module, name))}
        known = set[str]().union(*map(declared, parts)) | TEST_TOOLS.get(module, set())
        tops = {name.split(".")[0] for name in imported(module)} - FOLDERS.keys()
        others = tops - sys.stdlib_module_names
        assert {DISTRIBUTIONS.get(name, name) for name in others} <= known, module


TYPE_NAME = re.compile(r"[A-Z]\w*[a-z]\w*")


def test_one_name_for_one_module() -> None:
    """Whoever is told of a module finds one of that name."""
    named = Counter(name.rsplit(".", 1)[-1] for name in modules())
    assert {name for name, count in named.items() if count > 1} - {"__main__"} == {*NAMESAKES}


def test_one_name_for_one_class() -> None:
    """A name stands for one class, or for one type, in both packages together."""
    homes = defaultdict(list)
    for module, tree in modules().items():
        for name in filter(TYPE_NAME.fullmatch, filter(None, map(defined, tree.body))):
            homes[name].append(module)
    assert {name: home for name, home in homes.items() if len(home) > 1} == {}


def defined(node: ast.stmt) -> str | None:
    """Return the name of the class or of the type that a statement defines, if it does."""
    match node:
        case (
            ast.ClassDef(name)
            | ast.Assign([ast.Name(name)])
            | ast.AnnAssign(ast.Name(name), ast.Name("TypeAlias"))
        ):
            return name
    return None


IMPORT = re.compile(r"^\s*(?:from|import)\s+(dripline[\w.]*)", re.MULTILINE)


@pytest.mark.parametrize("page", ["README.md", *map(str, (ROOT / "docs").rglob("*.md"))])
def test_documents_import_what_is_public(page: str) -> None:
    """What the README and the documentation import stays where it is between versions."""
    assert set(IMPORT.findall((ROOT / page).read_text())) <= set(PUBLIC)


@pytest.mark.parametrize("package", PUBLIC)
def test_public_names(package: str) -> None:
    """Each public name can be imported, and type checkers see the very same names."""
    found = import_module(package)
    (checked,) = (node for node in modules()[package].body if isinstance(node, ast.If))
    seen = {
        alias.name
        for node in checked.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == set(found.__all__)
    for name in found.__all__:
        assert getattr(found, name) is not None
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'nothing'"):
        _ = found.nothing
