"""The wheel: what is in it, and that it works where nothing else is."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import Distribution, distributions
from importlib.metadata import distribution as distribution_of
from pathlib import Path

import aiohttp
import pytest
from packaging.requirements import Requirement

from dripline_server.routes.page import HASHED_NAME
from tests.support.processes import line
from tests.support.programs import require_npm_packages
from tests.support.stack import user
from tests.support.usual_ollama import skip_if_ollama_runs

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from a copy of what git would take: nothing is left in the checkout."""
    libraries = require_npm_packages("static")
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=ROOT, check=True, capture_output=True).stdout
    for name in filter(None, names.decode().split("\0")):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    shutil.copytree(libraries, source / "static/node_modules", symlinks=True)
    build: list[str | Path] = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        out,
        source,
    ]
    subprocess.run(build, check=True, capture_output=True)
    return next(out.glob("*.whl"))


def test_the_wheel_has_no_other_top_level_name(wheel: Path) -> None:
    """`dripline/`, `dripline_server/` with the page, and the metadata."""
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"dripline", "dripline_server"}
    tops = {name.split("/")[0] for name in names}
    assert tops == {"dripline", "dripline_server", *(top for top in tops if "dist-info" in top)}
    assert {"dripline/py.typed", "dripline_server/py.typed"} <= set(names)


def test_the_wheel_has_the_page_bundled(wheel: Path) -> None:
    """A few files named by their contents, and nothing of what they were made of."""
    names = zipfile.ZipFile(wheel).namelist()
    own = {name.partition("/static/")[2] for name in names if "/static/" in name}
    files = {name for name in own if not name.startswith("node_modules/")}
    plain = {name for name in files if not name.endswith(".gz")}
    assert files == plain | {f"{name}.gz" for name in plain}
    unhashed = {name for name in plain if not HASHED_NAME.search(name)}
    assert unhashed == {"index.html", "icon.svg", "client.js"}
    # Whatever a module asks for when it is needed is there: each grammar, the formulas, the worker.
    grammars = ROOT / "static/node_modules/@highlightjs/cdn-assets/es/languages"
    needed = {path.name.removesuffix(".js") for path in grammars.glob("*.min.js")}
    needed |= {"main", "style", "first-paint", "highlight-worker", "markdown-it.esm.min", "temml"}
    assert needed <= {name.rpartition("-")[0] for name in plain}


def test_the_wheel_has_the_client_of_other_pages(wheel: Path, tmp_path: Path) -> None:
    """One file by itself, with the names of the checkout's."""
    (name,) = (n for n in zipfile.ZipFile(wheel).namelist() if n.endswith("/static/client.js"))
    bundled = tmp_path / "client.mjs"
    bundled.write_bytes(zipfile.ZipFile(wheel).read(name))
    show = "import(process.argv[1]).then((m) => console.log(Object.keys(m).sort().join()))"
    found, wanted = (
        subprocess.run(["node", "-e", show, path], check=True, capture_output=True, text=True)
        for path in (bundled, ROOT / "static/client.js")
    )
    assert "ChatClient" in found.stdout
    assert found.stdout == wanted.stdout


def test_the_wheel_has_the_licences_of_the_pages_libraries(wheel: Path) -> None:
    """Under which terms what is bundled may be used."""
    names = zipfile.ZipFile(wheel).namelist()
    libraries = {name.partition("/static/")[2] for name in names if "/node_modules/" in name}
    found = {name for name in libraries if "licen" in name.lower()}
    # Of one library more is there, as it is.
    assert all(name.startswith("node_modules/pdfjs-dist/") for name in libraries - found)
    locked = json.loads((ROOT / "static/package-lock.json").read_text())["packages"]
    optional = ("dev", "optional")
    bundled = {
        name for name, package in locked.items() if name and not any(map(package.get, optional))
    }
    assert {str(Path(name).parent) for name in found} == bundled


def _install(wheel: Path, folder: Path) -> None:
    """Install the wheel with what it asks for, which is linked: the network has no part in it."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    pip: list[str | Path] = [sys.executable, "-m", "pip", "--python", folder / "bin/python"]
    pip += ["install", "--quiet", "--no-deps", "--no-index", wheel]
    subprocess.run(pip, check=True, capture_output=True)
    (own,) = distributions(name="dripline", path=[str(packages)])
    for distribution in _needed(own, "server"):
        for top in {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}:
            (packages / top).symlink_to(str(distribution.locate_file(top)))


def _needed(distribution: Distribution, *extras: str) -> list[Distribution]:
    """What a distribution with these extras asks for, and what that asks for; each once."""
    found: dict[str, Distribution] = {}
    asked = [(distribution, extra) for extra in ("", *extras)]
    for asking, extra in asked:
        for requirement in map(Requirement, asking.requires or ()):
            if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
                continue
            needed = distribution_of(requirement.name)
            if found.setdefault(needed.name, needed) is needed:
                asked += [(needed, one) for one in ("", *sorted(requirement.extras))]
    return list(found.values())


async def _expect_light_page(http: aiohttp.ClientSession, url: str) -> None:
    """The page and all that it loads: compressed, below 150 KB, and asked for once."""
    response = await http.get(url, headers={"Accept": "text/html"})
    page = await response.text()
    assert "<title>dripline" in page
    assert response.headers["Cache-Control"] == "no-cache"
    assert response.headers["Vary"] == "Accept, Accept-Encoding"
    loaded = int(response.headers["Content-Length"])
    linked = set(re.findall(r'"(static/[^"]+)"', page)) - {"static/icon.svg"}
    assert len(linked) < 10
    for name in linked:
        response = await http.get(f"{url}/{name}")
        assert response.status == 200
        assert response.headers["Content-Encoding"] == "gzip"
        assert "immutable" in response.headers["Cache-Control"]
        loaded += int(response.headers["Content-Length"])
        again = await http.get(f"{url}/{name}", headers={"If-None-Match": response.headers["ETag"]})
        assert again.status == 304
        assert "immutable" in again.headers["Cache-Control"]
    assert loaded < 150_000


async def test_the_wheel_works_alone(wheel: Path, tmp_path: Path) -> None:
    """Installed into an empty environment, it serves the page and a chat."""
    skip_if_ollama_runs()
    _install(wheel, tmp_path)
    server = await asyncio.create_subprocess_exec(
        tmp_path / "bin/dripline-server",
        "--port",
        "0",
        stdout=asyncio.subprocess.PIPE,
        cwd=tmp_path,
        env={},
    )
    try:
        url = (await line(server)).removeprefix("dripline is at ")
        async with aiohttp.ClientSession() as http:
            await _expect_light_page(http, url)
            response = await http.post(f"{url}/chat", json={"messages": user("Hi")})
            assert '"status":"completed"' in await response.text()
    finally:
        server.terminate()
        await server.communicate()
    assert server.returncode == 0
