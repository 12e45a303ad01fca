"""Bundles the page while a wheel is built: few files, compressed, named by their contents.

A checkout serves the page's modules as they are. In a wheel they are bundled by esbuild, which npm
brings (see package.json); without it the wheel has the modules as they are too. The server knows
nothing of this: it serves the files that there are.
"""

from __future__ import annotations

import gzip
import json
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from setuptools.command.build_py import build_py

SOURCES = Path(__file__).parent
PACKAGE = "dripline_server/static"
# A path that a module keeps in a constant, because the type checker may not follow it.
CONSTANT = re.compile(r'^const ([A-Z_]+) = "(\.\.?/[^"]+)";$', re.MULTILINE)
WORKER = re.compile(r'new URL\("([^"]+\.m?js)", import\.meta\.url\)')
# Stays as it is: it starts its own worker, and reads its tables, by their addresses.
UNBUNDLED = "node_modules/pdfjs-dist"
# What index.html loads, beside its icon.
LINKED = re.compile(r'<(?:link|script)[^>]* (?:href|src)="static/([^"]+\.(?:css|m?js))"')
# What other pages import by its own name, so that this one has no hash: it is one file by itself.
CLIENT = "client.js"
IMPORT_MAP = re.compile(r'\s*<script type="importmap">.*?</script>', re.DOTALL)
STYLE_SHEET = re.compile(r'\s*<link rel="stylesheet"[^>]*>')
ESBUILD = (
    "--bundle",
    "--format=esm",
    "--minify",
    "--target=es2024",
    "--legal-comments=none",  # the licences are files of the wheel
    "--chunk-names=[name]-[hash]",
    "--log-level=warning",
)


class BuildPage(build_py):
    """Setuptools' `build_py`, which copies the page, and then a bundle in place of the copy."""

    def run(self) -> None:
        """Build the packages."""
        page = Path(self.build_lib, PACKAGE)
        if not self.editable_mode:
            shutil.rmtree(page, ignore_errors=True)  # a bundle of an earlier build
        super().run()
        if self.editable_mode:
            return
        (page / Path(__file__).name).unlink()
        esbuild = shutil.which("esbuild", path=SOURCES / "node_modules/esbuild-wasm/bin")
        if esbuild:
            bundle(page, esbuild)
        else:
            self.warn("the page is not bundled: npm has not brought esbuild into static/")


def bundle(page: Path, esbuild: str) -> None:
    """Replace a copy of the page by its bundle. The libraries' licences stay.

    Raises:
        subprocess.CalledProcessError: esbuild failed; it has said why.
    """
    out = page.with_name("bundled")
    index = (page / "index.html").read_text()
    modules = [path for path in page.rglob("*.js") if "node_modules" not in path.parts]
    for module in modules:
        _write_paths_out(module)
    _bundle_workers(page, modules, esbuild, out)
    linked = LINKED.findall(index)
    sheets = [name for name in linked if name.endswith(".css")]
    (page / "style.css").write_text("".join(f'@import "./{name}";\n' for name in sheets))
    scripts = [name for name in linked if name not in sheets]
    names = _run(page, esbuild, out, ["style.css", *scripts])
    _run(page, esbuild, out, [CLIENT], "--entry-names=[name]")
    (out / "index.html").write_text(_with_names(index, names))
    shutil.copy(page / "icon.svg", out)
    for licence in page.glob("node_modules/**/[Ll][Ii][Cc][Ee][Nn]*"):
        kept = out / licence.relative_to(page)
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(licence, kept)
    shutil.copytree(page / UNBUNDLED, out / UNBUNDLED, dirs_exist_ok=True)
    for file in [file for file in out.iterdir() if file.is_file()]:
        file.with_name(f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes(), mtime=0))
    shutil.rmtree(page)
    out.rename(page)


def _write_paths_out(module: Path) -> None:
    """Write the paths in a module's constants where they are imported: esbuild follows those."""
    text = module.read_text()
    for name, path in CONSTANT.findall(text):
        if path.endswith(UNBUNDLED):  # the bundles lie beside `node_modules`
            text = text.replace(f'"{path}"', f'"./{UNBUNDLED}"')
            continue
        text = text.replace(f"import({name})", f'import("{path}")')
        text = text.replace(f"import(`${{{name}}}/", f"import(`{path}/")
        text = text.replace(f"new URL({name}, ", f'new URL("{path}", ')
    module.write_text(text)


def _bundle_workers(page: Path, modules: Iterable[Path], esbuild: str, out: Path) -> None:
    """Bundle the modules that run as workers, and write their new names where they are started."""
    for module in modules:
        text = module.read_text()
        for path in WORKER.findall(text):
            worker = (module.parent / path).resolve().relative_to(page.resolve()).as_posix()
            (name,) = _run(page, esbuild, out, [worker]).values()
            text = text.replace(f'new URL("{path}"', f'new URL("./{name}"')
        module.write_text(text)


def _run(page: Path, esbuild: str, out: Path, entries: Iterable[str], *how: str) -> dict[str, str]:
    """Bundle entry points, and return the names of their bundles."""
    how = how or ("--splitting", "--entry-names=[name]-[hash]")
    report = page.resolve() / "esbuild.json"
    command = [
        esbuild,
        *entries,
        *ESBUILD,
        *how,
        f"--outdir={out.resolve()}",
        f"--metafile={report}",
    ]
    subprocess.run([*command, "--outbase=."], cwd=page, check=True)
    outputs: dict[str, dict[str, Any]] = json.loads(report.read_text())["outputs"]
    return {
        output["entryPoint"]: Path(path).name
        for path, output in outputs.items()
        if output.get("entryPoint") in set(entries)
    }


def _with_names(index: str, names: dict[str, str]) -> str:
    """Return index.html with the bundles' names; what they hold in one is linked once."""
    sheet = f'\n    <link rel="stylesheet" href="static/{names["style.css"]}">'
    first, *others = STYLE_SHEET.findall(index)
    index = index.replace(first, sheet)
    for other in others:
        index = index.replace(other, "")
    index = IMPORT_MAP.sub("", index)
    return re.sub(r'"static/([^"]+\.m?js)"', lambda named: f'"static/{names[named[1]]}"', index)
