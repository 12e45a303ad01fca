"""The npm package of the JavaScript client: what is in it, its types, and its decoder."""

from __future__ import annotations

import configparser
import json
import re
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.decoders import decode_in_node
from tests.conformance.test_sse import CASES
from tests.support.programs import ROOT, require_npm_packages, require_program

STATIC = ROOT / "static"


@pytest.fixture(scope="module")
def files(tarball: Path) -> dict[str, bytes]:
    """The tarball's files, by their paths in the package."""
    with tarfile.open(tarball) as packed:
        return {
            member.name.removeprefix("package/"): opened.read()
            for member in packed
            if (opened := packed.extractfile(member))
        }


def test_the_modules_are_the_pages_own(files: dict[str, bytes]) -> None:
    """Byte for byte, each with its types; and there is nothing else but what tells of them."""
    modules = {name for name in files if name.endswith(".js")} - {"node.js"}
    for name in modules:
        assert files[name] == (STATIC / name).read_bytes()
        assert f"{name.removesuffix('.js')}.d.ts" in files
    assert {"client.js", "net/sse.js", "net/run-stream.js", "net/agui-fetch.js"} <= modules
    types = {name for name in files if name.endswith(".d.ts")}
    assert files.keys() - modules - types == {"node.js", "package.json", "README.md", "LICENSE"}


def test_what_the_package_says_of_itself(files: dict[str, bytes]) -> None:
    """Dripline's version and licence, Node.js 18, no dependency, and only files that are there."""
    about: dict[str, Any] = json.loads(files["package.json"])
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    assert about["version"] == config["metadata"]["version"]
    assert about["license"] == config["metadata"]["license"]
    assert files["LICENSE"] == (ROOT / "LICENSE").read_bytes()
    assert about["engines"] == {"node": ">=18"}
    assert not {"dependencies", "peerDependencies", "scripts"} & about.keys()
    named = set(texts({key: about[key] for key in ("types", "exports", "sideEffects")}))
    assert named
    assert {name.removeprefix("./") for name in named} <= files.keys()
    assert b'```js\nimport { ChatClient } from "dripline-client";' in files["README.md"]


def texts(value: Any) -> Iterator[str]:
    """Every text in a JSON value."""
    if isinstance(value, str):
        yield value
    else:
        for inner in value.values() if isinstance(value, dict) else value:
            yield from texts(inner)


def test_nothing_in_it_tells_where_it_was_built(files: dict[str, bytes], tarball: Path) -> None:
    """No path of this machine, and no registry."""
    wrong = re.compile(
        rb"%b|%b|file:/|/home/|/tmp/|registry|_resolved|sourceMappingURL"
        % (re.escape(bytes(ROOT)), re.escape(bytes(tarball.parent)))
    )
    assert {name: found for name, text in files.items() if (found := wrong.search(text))} == {}


def test_the_decoder_at_every_split(project: Path) -> None:
    """The package's decoder says what the table of the standard says, wherever chunks end."""
    work = [(case, pieces) for case in CASES for pieces in case.splits()]
    found = decode_in_node([(pieces, case.limit) for case, pieces in work], project / "decoder.mjs")
    for (case, pieces), decoded in zip(work, found, strict=True):
        assert decoded == case.expected, (case.name, pieces)


@pytest.mark.parametrize("module", ["nodenext", "esnext"])
def test_a_typescript_program(project: Path, module: str) -> None:
    """`tsc --strict` accepts what the README says, and refuses misspelt names and wrong types."""
    packages = require_npm_packages("tests/js")
    resolution = "nodenext" if module == "nodenext" else "bundler"
    options = ["--strict", "--noEmit", "--target", "es2022", "--lib", "es2022,dom"]
    options += ["--types", "", "--module", module, "--moduleResolution", resolution]
    checked = subprocess.run(
        [packages / ".bin/tsc", *options, "program.ts"],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.stdout == ""
    assert checked.returncode == 0


def test_a_program_that_has_read_its_answer_ends(project: Path) -> None:
    """No timer and no connection holds it; nor one whose server is away, once that is told."""
    program = """
        import { ChatClient } from "dripline-client";
        const client = new ChatClient("http://127.0.0.1:1", { firstWait: 1, longestWait: 1 });
        await client.ask("Hi").catch((error) => console.log(error.code));
        await client.models().catch((error) => console.log(error.code));
    """
    said = subprocess.run(
        [require_program("node"), "--input-type=module", "--eval", program],
        cwd=project,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert said.stdout.split() == ["server_unreachable", "server_unreachable"]
    assert said.stderr == ""
