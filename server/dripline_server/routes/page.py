"""`GET /` and the page's files."""

from __future__ import annotations

import logging
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
    (".css", ".html", ".ico", ".js", ".mjs", ".png", ".svg", ".webmanifest", ".woff", ".woff2")
)
PAGE_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cache-Control": "no-cache",
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
    if not (folder / MARKDOWN_LIBRARY).is_file():
        logger.warning("the page shows plain text: npm has not brought %s", MARKDOWN_LIBRARY)

    async def index(request: web.Request) -> web.StreamResponse:
        if "text/html" in request.headers.get("Accept", ""):
            headers = {**PAGE_HEADERS, "Vary": "Accept"}
            return web.FileResponse(folder / "index.html", headers=headers)
        service = describe_service(request)
        service.headers["Vary"] = "Accept"
        return service

    app.router.add_get("/", index, name=ROOT)

    async def file(request: web.Request) -> web.StreamResponse:
        path = _file_of_page(folder, request.match_info["path"])
        if path is None:
            raise web.HTTPNotFound
        return web.FileResponse(path)

    app.router.add_get("/static/{path:.+}", file)
    app.on_response_prepare.append(_add_page_headers)


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
    if path_within(request).startswith("/static/"):
        response.headers.update(PAGE_HEADERS)
