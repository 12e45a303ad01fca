"""The page's rooms: what each may import and use, and what its style sheets may ask for."""

from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from posixpath import normpath

import pytest
import tree_sitter_javascript
from tree_sitter import Language, Node, Parser

from dripline_server.routes.page import IMPORT_MAP_HASH
from tests.support.programs import ROOT

STATIC = ROOT / "static"
PARSER = Parser(Language(tree_sitter_javascript.language()))

DOM = (
    r"document|window|location|history|screen|visualViewport|customElements|CSS|addEventListener"
    r"|matchMedia|getSelection|getComputedStyle|(request|cancel)AnimationFrame|alert|confirm|prompt"
    r"|open|scrollTo|Element|Node|Text|Document|DocumentFragment|Option|Image|DOMParser|Range"
    r"|(Resize|Intersection|Mutation)Observer|(Keyboard|Pointer)Event|(HTML|SVG)\w*Element"
)
NETWORK = r"fetch|XMLHttpRequest|WebSocket|EventSource|WebTransport|Request"
STORAGE = r"localStorage|sessionStorage|indexedDB|caches|cookieStore|BroadcastChannel"

# The rooms that each may import from, and the globals that it may not use.
ROOMS = {
    "chat": (("chat",), f"{DOM}|{NETWORK}|{STORAGE}"),
    "store": (("store", "chat"), f"{DOM}|{NETWORK}"),
    "net": (("net", "store", "chat"), f"{DOM}|{STORAGE}"),
    "view": (("view", "store", "chat"), f"{NETWORK}|{STORAGE}"),
    "first-paint.js": ((), NETWORK),
    "main.js": (("chat", "store", "net", "view"), f"{NETWORK}|{STORAGE}"),
    "client.js": (("chat", "net"), f"{DOM}|{NETWORK}|{STORAGE}"),
}
# What other programs get: no page, so nothing of one.
CLIENT = (("client.js", "chat", "net"), f"{DOM}|{STORAGE}|navigator|process|Buffer|require")

# What the view knows is a class or an attribute that it sets. What a sheet finds out by itself from
# what is empty or last, some browsers do not notice when it changes.
DERIVED_STATE = re.compile(
    r":(?:has\(|empty\b|blank\b|(?:first|last|only|nth|nth-last)-(?:child|of-type)\b)"
)


@cache
def modules() -> dict[str, bytes]:
    """Every module of the page, by its path below `static`."""
    paths = sorted(path for path in STATIC.rglob("*.js") if "node_modules" not in path.parts)
    return {path.relative_to(STATIC).as_posix(): path.read_bytes() for path in paths}


def walk(node: Node) -> Iterator[Node]:
    """A node, and all that is in it."""
    yield node
    for child in node.named_children:
        yield from walk(child)


def text_of(node: Node | None) -> str:
    """A node's text."""
    return node.text.decode() if node and node.text else ""


def imports(module: str, source: bytes) -> set[str]:
    """The modules that a module imports, also while it runs, as paths below `static`."""
    # A path is a string that begins so, wherever it stands: it may go through a variable.
    found = (
        text_of(node)
        for node in walk(PARSER.parse(source).root_node)
        if node.type == "string_fragment"
    )
    folder = Path(module).parent.as_posix()
    paths = {normpath(f"{folder}/{path}") for path in found if re.match(r"\.\.?/.*\.m?js$", path)}
    return {path for path in paths if not path.startswith("node_modules/")}


def globals_of(source: bytes) -> set[str]:
    """The names that a module uses and does not declare."""
    used: set[str] = set()
    declared: set[str] = set()
    for node in walk(PARSER.parse(source).root_node):
        parent = node.parent
        if node.type == "member_expression" and text_of(node.child_by_field_name("object")) in (
            "globalThis",
            "self",
        ):
            used.add(text_of(node.child_by_field_name("property")))
        if node.type in ("shorthand_property_identifier_pattern", "shorthand_property_identifier"):
            (declared if node.type.endswith("pattern") else used).add(text_of(node))
        if node.type == "identifier" and parent:
            named = [parent.child_by_field_name(field) for field in ("name", "parameter")]
            is_list = parent.type in ("import_specifier", "formal_parameters", "pair_pattern")
            (declared if is_list or node in named else used).add(text_of(node))
    return used - declared


def trespasses(module: str, source: bytes) -> list[str]:
    """What a module imports or uses that its room may not."""
    allowed, forbidden = ROOMS[module.partition("/")[0]]
    foreign = [path for path in imports(module, source) if path.partition("/")[0] not in allowed]
    names = [name for name in globals_of(source) if re.fullmatch(forbidden, name)]
    return sorted(foreign) + sorted(names)


def test_rooms_keep_their_borders() -> None:
    """Each module imports and uses only what its room may."""
    found = {module: trespasses(module, source) for module, source in modules().items()}
    assert {module: what for module, what in found.items() if what} == {}


def test_the_client_needs_no_page() -> None:
    """What client.js imports, and what that imports, works outside of a page too."""
    allowed, forbidden = CLIENT
    reached, ways = set[str](), ["client.js"]
    while ways:
        module = ways.pop()
        if module not in reached:
            reached.add(module)
            ways += imports(module, modules()[module])
    assert {module.partition("/")[0] for module in reached} <= set(allowed)
    used = {(module, name) for module in reached for name in globals_of(modules()[module])}
    assert [(module, name) for module, name in used if re.fullmatch(forbidden, name)] == []
    assert {"net/sse.js", "net/run-stream.js", "net/agui-fetch.js"} <= reached


@pytest.mark.parametrize(
    ("module", "source", "found"),
    [
        ("chat/a.js", 'import { b } from "../net/b.js";', ["net/b.js"]),
        ("chat/a.js", "export const a = () => document.title;", ["document"]),
        ("chat/a.js", "globalThis.localStorage.clear();", ["localStorage"]),
        ("store/a.js", "const a = { fetch };", ["fetch"]),
        ("store/a.js", "if (a instanceof HTMLInputElement) b();", ["HTMLInputElement"]),
        ("net/a.js", 'const B = "../view/b.js"; await import(B);', ["view/b.js"]),
        ("view/messages/a.js", 'export { b } from "../../net/b.js";', ["net/b.js"]),
        ("view/a.js", "new EventSource(a);", ["EventSource"]),
        ("view/a.js", "// fetch\n/** document */ a.fetch('fetch', { fetch: 1 });", []),
        ("chat/a.js", "const f = ({ location }, open) => [location, open];", []),
    ],
)
def test_trespass_is_found(module: str, source: str, found: list[str]) -> None:
    """An import or a global of another room is named; a comment, a text or a field is none."""
    assert trespasses(module, source.encode()) == found


def test_one_guard_knows_input_methods() -> None:
    """One module alone asks whether a word is being composed."""
    asking = [
        module
        for module, source in modules().items()
        if re.search(rb"\.isComposing|\.keyCode", source)
    ]
    assert asking == ["view/dom.js"]


def test_no_module_imports_in_a_circle() -> None:
    """Every module can be read without those that use it."""
    graph = {module: imports(module, source) for module, source in modules().items()}
    assert set().union(*graph.values()) <= graph.keys()
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_the_import_map_is_what_the_policy_allows() -> None:
    """The page runs no other script that stands in it."""
    page = (STATIC / "index.html").read_text()
    scripts = re.findall(r"<script([^>]*)>(.*?)</script>", page, flags=re.DOTALL)
    ((kind, text),) = [(kind, text) for kind, text in scripts if "src=" not in kind]
    assert "importmap" in kind
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    assert f"sha256-{digest}" == IMPORT_MAP_HASH


def test_folders_can_be_read_at_a_glance() -> None:
    """No folder of the page shows more than twenty files of code."""
    counts = Counter(Path(module).parent.as_posix() for module in modules())
    assert {folder: count for folder, count in counts.items() if count > 20} == {}


@pytest.mark.parametrize("sheet", sorted(path.name for path in (STATIC / "style").iterdir()))
def test_style_derives_no_state(sheet: str) -> None:
    """A sheet asks for classes and attributes, never for what is empty, first or last."""
    text = re.sub(r"/\*.*?\*/", "", (STATIC / "style" / sheet).read_text(), flags=re.DOTALL)
    assert DERIVED_STATE.findall(text) == []


@pytest.mark.parametrize(
    "selector", ["a:has(b)", "a:not(:empty)", "li:last-child", "i:nth-child(2)"]
)
def test_derived_state_is_found(selector: str) -> None:
    """The check knows the ways in which a sheet finds something out by itself."""
    assert DERIVED_STATE.search(selector)
