"""Upstream: Ollama's `/api/chat` as a stream, and what models it has.

The stream is read here, by way of `upstream_http`, and not by the `ollama` package: that one splits
lines on U+0085 too, ends silently when the connection is cut before `"done": true`, and opens 100
connections at most. The package serves the calls that are not a stream, but for the version.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import aiohttp
import httpx
import ollama
import orjson
from yarl import URL

from dripline.errors import ErrorCode
from dripline.http.response_body import BodyBroken, Break
from dripline_server.upstream.capabilities import Capabilities
from dripline_server.upstream.chat_chunks import Chunk, ChunkReader
from dripline_server.upstream.failures import UpstreamError
from dripline_server.upstream.http_client import HttpAnswer, NotHttp, SessionAnswer, post_json
from dripline_server.upstream.refusals import refusal

CONNECT_TIMEOUT = 10.0
INFO_TIMEOUT = 10.0
LOADED_AGE = 1.0
MAX_SHORT_BODY = 64 * 1024

_INFO = aiohttp.ClientTimeout(total=INFO_TIMEOUT)
# The package lets httpx's own errors through, and ValueError where the answer is not Ollama's.
_PACKAGE_ERRORS = (ConnectionError, ollama.ResponseError, httpx.HTTPError, ValueError, TypeError)


@dataclass(frozen=True, slots=True)
class Model:
    """A model that Ollama has.

    Attributes:
        name: Such as "mistral:latest".
        size: Bytes on disk.
        family: Its architecture, such as "llama"; "" where Ollama does not say.
        capabilities: Such as "completion", "tools", "thinking", "vision".
        loaded: Whether it is in memory now.
        created: When it was last changed, in seconds since 1970.
    """

    name: str
    size: int
    family: str
    capabilities: list[str]
    loaded: bool
    created: int = 0


class Ollama:
    """One Ollama, for the whole life of the server. Close it with `close()`.

    Args:
        url: Its address; it may have a user and a password.
        stall_timeout: Seconds of silence after which an answer is given up; 0 waits for ever.
        max_line: The longest line taken, in bytes.

    Attributes:
        url: Its address as people are told it: without the user and the password.
    """

    def __init__(self, url: str, *, stall_timeout: float, max_line: int) -> None:
        self.url = str(URL(url).with_user(None)).rstrip("/")
        self._chat_url = URL(f"{url}/api/chat")
        self._version_url = URL(f"{url}/api/version")
        self._stall_timeout = stall_timeout
        self._max_line = max_line
        # Without limit=0, stream 101 would wait in silence for one of the others to end.
        self._session = aiohttp.ClientSession(
            # A kept-alive connection may be dead by the next chat, and a POST is not sent twice.
            connector=aiohttp.TCPConnector(limit=0, force_close=True),
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=CONNECT_TIMEOUT, sock_read=stall_timeout or None
            ),
            headers={"Accept-Encoding": "identity"},
            auto_decompress=False,
        )
        self._package = ollama.AsyncClient(host=url, timeout=INFO_TIMEOUT, trust_env=False)
        self._capabilities = Capabilities(self._show)
        self._loaded: asyncio.Task[frozenset[str]] | None = None
        self._loaded_at = 0.0

    async def close(self) -> None:
        """Close every connection."""
        if self._loaded is not None:
            self._loaded.cancel()
            await asyncio.wait({self._loaded})
        await self._capabilities.close()
        await self._session.close()
        await self._package.close()

    async def chat(
        self,
        model: str,
        body: bytes,
        middlewares: Sequence[aiohttp.ClientMiddlewareType] = (),
        take: Callable[[list[Chunk]], bool] = lambda _: False,
    ) -> AsyncGenerator[list[Chunk]]:
        """Stream an answer: each item holds the chunks that one read completed.

        Chunks are offered to `take` before whoever waits here is woken for them. Where it returns
        True it has dealt with them, and they are no item. The last ones always are one.

        Ends after the chunk that says `done`. Closing the generator, or cancelling whoever waits
        in it, closes the socket at once, whatever Ollama is doing: that is what frees its GPU.

        Args:
            model: The model's name, for messages.
            body: The request as `/api/chat` takes it, streaming, as JSON.
            middlewares: What goes around the HTTP request, such as a recorder.
            take: Called with chunks, in the midst of the event loop's call that brought them.

        Raises:
            UpstreamError: Any way in which Ollama can fail.
            Exception: What `take` raised.
        """
        answer = await self._post_chat(body, middlewares)
        del body  # the answer may take minutes
        lines = ChunkReader(self._max_line, take)
        try:
            if answer.status != 200:
                raise await _refusal(answer, model)
            while await answer.pump(lines.feed):
                if lines.chunks:
                    yield lines.chunks
                if lines.done:
                    return
                if lines.failure:
                    raise lines.failure
            lines.end()
            if lines.chunks:
                yield lines.chunks
            if lines.failure:
                raise lines.failure
        except BodyBroken as error:
            raise self._broken(error.how) from error
        except NotHttp as error:
            raise self._stranger() from error
        finally:
            await answer.close()

    async def _post_chat(
        self, body: bytes, middlewares: Sequence[aiohttp.ClientMiddlewareType]
    ) -> HttpAnswer:
        try:
            # What is rare goes by aiohttp's client: recordings, https, a user in the address.
            if middlewares or self._chat_url.scheme != "http" or self._chat_url.user:
                return SessionAnswer(await self._post_by_session(body, middlewares))
            return await post_json(
                self._chat_url,
                body,
                connect_timeout=CONNECT_TIMEOUT,
                stall_timeout=self._stall_timeout,
            )
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise self._unreachable(error) from error
        except aiohttp.ClientOSError as error:
            raise self._broken("reset") from error
        except aiohttp.ServerDisconnectedError as error:
            raise self._broken("cut") from error
        except aiohttp.ServerTimeoutError as error:
            raise self._broken("timeout") from error
        except (aiohttp.ClientError, NotHttp) as error:
            raise self._stranger() from error
        except BodyBroken as error:
            raise self._broken(error.how) from error
        except (ConnectionError, TimeoutError) as error:
            raise self._unreachable(error) from error

    async def _post_by_session(
        self, body: bytes, middlewares: Sequence[aiohttp.ClientMiddlewareType]
    ) -> aiohttp.ClientResponse:
        return await self._session.post(
            self._chat_url,
            data=body,
            headers={"Content-Type": "application/json"},
            allow_redirects=False,
            middlewares=middlewares,
        )

    def _unreachable(self, error: Exception) -> UpstreamError:
        return UpstreamError(
            ErrorCode.OLLAMA_UNREACHABLE,
            f"No Ollama answers at {self.url} ({error}). Start it with `ollama serve`, or name"
            " another with --ollama.",
        )

    def _stranger(self) -> UpstreamError:
        return UpstreamError(
            ErrorCode.UPSTREAM_GARBAGE,
            f"What answers at {self.url} does not speak HTTP as Ollama does. Is it Ollama?",
        )

    def _broken(self, how: Break) -> UpstreamError:
        match how:
            case "reset":
                return UpstreamError(
                    ErrorCode.UPSTREAM_RESET,
                    "The connection to Ollama was reset; it may have crashed. Try again.",
                )
            case "cut":
                return UpstreamError(
                    ErrorCode.UPSTREAM_CUT,
                    "Ollama closed the connection in the middle; it may have been stopped or have"
                    " crashed. Its log says more. Try again.",
                )
            case "timeout":
                return UpstreamError(
                    ErrorCode.UPSTREAM_STALLED,
                    f"Ollama sent nothing for {self._stall_timeout:g} s. Try again, or raise"
                    " --stall-timeout if the model is slow to load.",
                )

    async def version(self) -> str:
        """Return Ollama's version.

        Raises:
            UpstreamError: It does not answer.
        """
        # The package has no call for it.
        try:
            async with self._session.get(self._version_url, timeout=_INFO) as response:
                return str(orjson.loads(await _read_start(SessionAnswer(response)))["version"])
        except (aiohttp.ClientError, BodyBroken, TimeoutError) as error:
            raise self._unlisted(error) from error
        except (ValueError, LookupError, TypeError) as error:
            raise self._unlisted("it says no version") from error

    def _unlisted(self, reason: object) -> UpstreamError:
        return UpstreamError(
            ErrorCode.OLLAMA_UNREACHABLE, f"No Ollama answers at {self.url} as one should: {reason}"
        )

    async def is_loaded(self, model: str) -> bool:
        """Return whether the model is in memory, as Ollama said within the last second.

        Raises:
            UpstreamError: Ollama does not answer.
        """
        now = asyncio.get_running_loop().time()
        old = now - self._loaded_at > LOADED_AGE
        if self._loaded is None or (old and self._loaded.done()):
            self._loaded, self._loaded_at = asyncio.create_task(self._list_loaded()), now
        # One question serves all who ask at once; one of them leaving does not end it.
        return _full_name(model) in await asyncio.shield(self._loaded)

    async def _list_loaded(self) -> frozenset[str]:
        try:
            processes = (await self._package.ps()).models
        except _PACKAGE_ERRORS as error:
            raise self._unlisted(error) from error
        return frozenset(process.model or "" for process in processes)

    async def models(self) -> list[Model]:
        """Return what models Ollama has, in its own order.

        Raises:
            UpstreamError: Ollama does not answer.
        """
        try:
            listed, loaded = (await self._package.list()).models, await self._list_loaded()
            capabilities = await asyncio.gather(
                *[self._capabilities_listed(one.model or "", one.digest or "") for one in listed]
            )
            return [
                Model(
                    name=(name := entry.model or ""),
                    size=int(entry.size or 0),
                    family=(entry.details.family if entry.details else None) or "",
                    capabilities=known,
                    loaded=name in loaded,
                    created=int(entry.modified_at.timestamp()) if entry.modified_at else 0,
                )
                for entry, known in zip(listed, capabilities, strict=True)
            ]
        except _PACKAGE_ERRORS as error:
            raise self._unlisted(error) from error

    async def _capabilities_listed(self, name: str, digest: str) -> list[str]:
        try:
            return list(await self._capabilities.of_listed(name, digest))
        except ollama.ResponseError:
            return []  # deleted since it was listed, or broken: the others are still told

    async def capabilities(self, model: str) -> Sequence[str]:
        """Return what a model can do, as far as that is known; see `Capabilities.of`."""
        return await self._capabilities.of(_full_name(model))

    def forget_capabilities(self, model: str) -> None:
        """Hear that a model cannot do what it was thought to."""
        self._capabilities.forget(_full_name(model))

    async def _show(self, name: str) -> Sequence[str]:
        return (await self._package.show(name)).capabilities or []


def _full_name(model: str) -> str:
    """Return the name as Ollama lists it: with a tag."""
    return model if ":" in model.rpartition("/")[2] else f"{model}:latest"


async def _read_start(answer: HttpAnswer) -> bytes:
    """Return a short body whole, and of a long one the start.

    Raises:
        BodyBroken: It did not come to its end.
    """
    body = bytearray()

    def take(piece: bytes) -> bool:
        body.extend(piece)
        return len(body) <= MAX_SHORT_BODY

    await answer.pump(take)
    return bytes(body)


async def _refusal(answer: HttpAnswer, model: str) -> UpstreamError:
    """Return what an error status means, with Ollama's own words."""
    body = bytearray()

    def take(piece: bytes) -> bool:
        body.extend(piece)
        return len(body) <= MAX_SHORT_BODY

    with suppress(BodyBroken):  # what has come of it still says why
        await answer.pump(take)
    return refusal(answer.status, bytes(body), model)
