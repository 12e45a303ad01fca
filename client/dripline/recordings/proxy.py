"""A proxy to a real server that records the exchanges, so that a test can create its recording."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import aiohttp
from aiohttp import web

from dripline.http.response_body import Body, BodyBroken
from dripline.recordings.differences import same_address, same_body
from dripline.recordings.last_word import TAIL, says_its_end
from dripline.recordings.recorder import Recorder
from dripline.recordings.recording import Recording
from dripline.recordings.replayed_request import ReplayedRequest, ReplayEnding
from dripline.recordings.serving import PiecewiseResponse

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

# Not forwarded, because they concern a single connection (RFC 9110, section 7.6.1), or because the
# client sets them itself.
_NOT_FORWARDED = frozenset(
    ("host", "connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade")
)
# Not forwarded either, because a compressed body could not be read in the file, nor be split inside
# a character.
_NOT_ASKED = frozenset((*_NOT_FORWARDED, "accept-encoding"))

Keep = Literal["first", "last", "both"]


class RecordingProxy:
    """Passes requests on to a server, and the answers back to the client, piece by piece.

    A `ReplayServer` calls `pass_on` for requests that are not in its recording. The proxy writes to
    a temporary file. Closing the proxy renames it to the recording's name, if the server answered.
    An existing recording is therefore always complete, and several test processes can create the
    same recording without disturbing each other.

    Args:
        server: The server's address; a request's path is appended to it.
        path: The file to create.
        keep: What to do if the file exists when the proxy is closed: keep the "first" file, keep
            the "last" one, or keep "both": append the new exchanges to the file.
    """

    def __init__(self, server: str, path: Path, *, keep: Keep = "first") -> None:
        self._server = server.rstrip("/")
        self._path = path
        self._keep = keep
        self._unfinished = _beside(path)
        self._answered = False
        self._held_before = 0
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if self._keep == "both" and self._path.exists():
            self._held_before = len(Recording.load(self._path).exchanges)
        async with AsyncExitStack() as opened:
            recorder = await opened.enter_async_context(Recorder(self._unfinished))
            self._http = await opened.enter_async_context(
                aiohttp.ClientSession(
                    middlewares=[recorder],
                    auto_decompress=False,
                    timeout=aiohttp.ClientTimeout(total=None),
                )
            )
            self._open = opened.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            await self._open.aclose()
            if self._answered:
                self._save()
        finally:
            self._unfinished.unlink(missing_ok=True)

    def _save(self) -> None:
        match self._keep:
            case "last":
                self._unfinished.replace(self._path)
            case "first":
                _name_if_new(self._unfinished, self._path)
            case "both":
                with _one_at_a_time(self._path.parent):
                    self._add()

    def _add(self) -> None:
        """Append the recorded exchanges to those that the file has by now."""
        made = Recording.load(self._unfinished)
        if not self._path.exists():
            self._unfinished.replace(self._path)
            return
        now = Recording.load(self._path)
        # Another process may have recorded the same exchange in the meantime; the first one wins.
        others = list(now.exchanges[self._held_before :])
        new = []
        for exchange in made.exchanges:
            asked = exchange.request
            for other in others:
                if same_address(other.request, asked) and same_body(other.request, asked):
                    others.remove(other)
                    break
            else:
                new.append(exchange)
        if new:
            both = _beside(self._path)
            now.followed_by(Recording(new)).save(both)
            both.replace(self._path)

    async def pass_on(self, http: web.BaseRequest, replayed: ReplayedRequest) -> web.StreamResponse:
        """Pass a request on to the server, return its answer, and note the ending in `replayed`."""
        headers = [(k, v) for k, v in http.headers.items() if k.lower() not in _NOT_ASKED]
        try:
            response = await self._http.request(
                http.method,
                f"{self._server}{http.path_qs}",
                data=BytesIO(body) if (body := replayed.request.body) else None,
                headers=headers,
                allow_redirects=False,
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            )
        except aiohttp.ClientError as error:
            replayed.status = 502
            replayed.end(ReplayEnding.FINISHED)
            return web.Response(
                status=502, text=f"nothing to record: {self._server} does not answer: {error}"
            )
        self._answered = True
        async with response:
            kept = [(k, v) for k, v in response.headers.items() if k.lower() not in _NOT_FORWARDED]
            passed = PiecewiseResponse(http, response.status, kept)
            end, size = b"", 0
            try:
                await passed.start()
                replayed.status = response.status
                async for piece in Body(response):
                    await passed.send(piece)
                    replayed.pieces_sent += 1
                    end, size = (end + piece)[-TAIL:], size + len(piece)
                replayed.end(ReplayEnding.FINISHED)
                await passed.finish()
            except BodyBroken as broken:
                replayed.end(ReplayEnding.BROKEN)
                if broken.how == "reset":
                    await passed.reset()
                else:
                    passed.cut()
            except ConnectionError:
                pass  # The client has left; closing the response disconnects from the server too.
            finally:
                if size == response.content_length or says_its_end(end):
                    replayed.end(ReplayEnding.FINISHED)  # also if the client leaves right then
            return passed.response


def _beside(path: Path) -> Path:
    """Return a unique name for an unfinished file, in the same folder as the final one."""
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}.new")


def _name_if_new(unfinished: Path, path: Path) -> None:
    """Rename a finished file, unless the new name exists already."""
    try:
        os.link(unfinished, path)  # unlike a rename, it never replaces a file
    except FileExistsError:
        pass
    except OSError:  # a file system without links
        if not path.exists():
            unfinished.replace(path)


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Lock a folder against other processes that call this; does nothing on Windows."""
    if fcntl is None:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_UN)
        os.close(handle)
