"""`GET /` and the page's files."""

from __future__ import annotations

import asyncio
import gzip
import logging
import mimetypes
import re
from functools import lru_cache
from pathlib import Path

from aiohttp import web

from dripline_server.problems import ROOT, path_within
from dripline_server.routes.info import describe_service

logger: logging.Logger = logging.getLogger(__name__)

# Of the import map in index.html, by which one library finds another; a test compares them.
IMPORT_MAP_HASH = "sha256-O5c8x5ckD4zpB9COxXCMmKeQMRc71gHaH9pDeFr6mxg="
MARKDOWN_LIBRARY = "node_modules/markdown-it/dist/browser/markdown-it.esm.min.mjs"
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        f"script-src 'self' '{IMPORT_MAP_HASH}'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
# The kinds of files that the page consists of, by the end of their names.
PAGE_SUFFIXES = frozenset(
    (
        ".bcmap",  # which letters PDF files mean
        ".css",
        ".html",
        ".ico",
        ".js",
        ".mjs",
        ".png",
        ".svg",
        ".webmanifest",
        ".woff",
        ".woff2",
    )
)
# Those whose formats are compressed already.
PACKED_SUFFIXES = frozenset((".ico", ".png", ".woff", ".woff2"))
# Of a client that has the file already, or wants a part of it.
CONDITIONS = ("If-Modified-Since", "If-None-Match", "Range")
# A wheel's files are named by their contents, as `main-2Y5JCSTN.js`; see static/bundle_page.py.
HASHED_NAME = re.compile(r"-[0-9A-Z]{8}\.[a-z]+")
IMMUTABLE = "public, max-age=31536000, immutable"
PAGE_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cache-Control": "no-cache",
    "Vary": "Accept-Encoding",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def page_folder() -> Path:
    """Return the folder of the page's files: in the wheel, or beside the source in a checkout."""
    package = Path(__file__).parents[1]
    for folder in (package / "static", package.parent.parent / "static"):
        if (folder / "index.html").is_file():
            return folder
    raise FileNotFoundError(f"the page's files are not beside {package}; install dripline again")


def add_page(app: web.Application) -> None:
    """Serve the page at `/` and its files under `/static/`."""
    folder = page_folder()
    if (folder / "main.js").is_file() and not (folder / MARKDOWN_LIBRARY).is_file():
        logger.warning("the page shows plain text: npm has not brought %s", MARKDOWN_LIBRARY)

    async def index(request: web.Request) -> web.StreamResponse:
        if "text/html" in request.headers.get("Accept", ""):
            return web.FileResponse(folder / "index.html")
        return describe_service(request)

    app.router.add_get("/", index, name=ROOT)

    async def file(request: web.Request) -> web.StreamResponse:
        path = _file_of_page(folder, request.match_info["path"])
        if path is None:
            raise web.HTTPNotFound
        return await _file_response(request, path)

    app.router.add_get("/static/{path:.+}", file)
    app.on_response_prepare.append(_add_page_headers)


async def _file_response(request: web.Request, path: Path) -> web.StreamResponse:
    """Return a file, compressed where the client takes that.

    A wheel has compressed files beside its own, which aiohttp finds. A checkout has none.
    """
    sought = any(name in request.headers for name in CONDITIONS)
    takes_gzip = "gzip" in request.headers.get("Accept-Encoding", "").lower()
    is_packed = path.suffix in PACKED_SUFFIXES or path.with_name(f"{path.name}.gz").is_file()
    if sought or is_packed or not takes_gzip:
        return web.FileResponse(path)
    return await asyncio.to_thread(_compressed_response, path)


def _compressed_response(path: Path) -> web.Response:
    about = path.stat()
    response = web.Response(
        body=_compressed(path, about.st_mtime_ns),
        content_type=mimetypes.guess_type(path.name)[0] or "application/octet-stream",
        headers={"Content-Encoding": "gzip"},
    )
    response.etag = f"{about.st_mtime_ns:x}-{about.st_size:x}"  # as FileResponse has it
    response.last_modified = about.st_mtime
    return response


@lru_cache(maxsize=200)
def _compressed(path: Path, _modified: int) -> bytes:
    """Return a file's contents, compressed; once it is modified they are compressed again."""
    return gzip.compress(path.read_bytes(), 6)


def _file_of_page(folder: Path, name: str) -> Path | None:
    """Return one of the page's files; None for any other file in its folder.

    Other files there belong to npm and TypeScript: lock files, settings, descriptions of packages.
    """
    parts = name.split("/")
    if any(part.startswith(".") or not part or "\0" in part or "\\" in part for part in parts):
        return None
    path = folder.joinpath(*parts)
    return path if path.suffix in PAGE_SUFFIXES and path.is_file() else None


async def _add_page_headers(request: web.Request, response: web.StreamResponse) -> None:
    path = path_within(request)
    if path.startswith("/static/"):
        response.headers.update(PAGE_HEADERS)
        if HASHED_NAME.search(path) and response.status in (200, 206, 304):
            response.headers["Cache-Control"] = IMMUTABLE
    elif path == "/":
        if response.content_type == "text/html":
            response.headers.update(PAGE_HEADERS)
        is_packed = "Content-Encoding" in response.headers
        response.headers["Vary"] = "Accept, Accept-Encoding" if is_packed else "Accept"
