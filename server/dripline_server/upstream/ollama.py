"""One Ollama: streams `/api/chat`, and lists the models.

Everything goes through `http_client`. The `ollama` package is not usable here: it also splits lines
at U+0085, ends silently if the connection is cut before `"done": true`, opens at most 100
connections, follows redirects to any host, and decompresses answers without a size limit.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import orjson

from dripline.errors import ErrorCode
from dripline.http.response_body import BodyBroken, Break
from dripline.json_text import has_too_many_values, load_json
from dripline_server.upstream import ollama_lists
from dripline_server.upstream.address import OllamaAddress, RawHeaders
from dripline_server.upstream.chat_chunks import Chunk, ChunkReader
from dripline_server.upstream.failures import UpstreamError
from dripline_server.upstream.http_client import (
    BadAnswer,
    HttpAnswer,
    HttpClient,
    NotHttp,
    NotTrusted,
    Record,
    Redirected,
)
from dripline_server.upstream.known_models import KnownModels
from dripline_server.upstream.model_memory import ModelMemory, StatusPhase
from dripline_server.upstream.ollama_lists import InMemory, Listed, Shown
from dripline_server.upstream.ollama_refusals import refusal, sentence, stranger
from dripline_server.upstream.pulls import PullProgress, PullReader
from dripline_server.upstream.relayed_answer import RelayedAnswer

T = TypeVar("T")

# Seconds for any call other than a chat, and the longest answer to it in bytes.
INFO_TIMEOUT = 10.0
MAX_INFO = 4 * 1024 * 1024
# Seconds that the list of models waits for the details of each model.
DETAILS_TIME = 5.0
# The text of an error: how many bytes are read, and for how many seconds.
MAX_REASON = 64 * 1024
REASON_TIME = 5.0


@dataclass(frozen=True, slots=True)
class Model:
    """A model that Ollama has.

    Attributes:
        name: For example "mistral:latest".
        size: Bytes on disk.
        family: Its architecture, for example "llama"; "" if Ollama does not say.
        capabilities: For example "completion", "tools", "thinking", "vision"; empty if Ollama does
            not say.
        loaded: Whether it is in memory now; None if Ollama does not say.
        created: When it was last changed, in seconds since 1970.
        description: What it is for; "" for a model of Ollama.
        context_length: How many tokens it can see as it was loaded; 0 if it is not loaded, or if
            Ollama does not say.
        loaded_until: When Ollama unloads it, in seconds since 1970; 0 if it is not loaded, or if
            Ollama does not say.
    """

    name: str
    size: int
    family: str
    capabilities: list[str]
    loaded: bool | None
    created: int = 0
    description: str = ""
    context_length: int = 0
    loaded_until: float = 0.0


class Ollama:
    """One Ollama, for the whole life of the server. Close it with `close()`.

    Args:
        address: Its address; a URL may contain a user and a password.
        stall_timeout: Give an answer up after this many seconds of silence; 0: never.
        max_line: The longest line accepted, in bytes.

    Attributes:
        url: Its address for messages, without the user and the password.
    """

    def __init__(
        self, address: OllamaAddress | str, *, stall_timeout: float, max_line: int
    ) -> None:
        if isinstance(address, str):
            address = OllamaAddress(address)
        self.url = address.url
        self._http = HttpClient(address)
        self._stall_timeout = stall_timeout
        self._max_line = max_line
        self._known = KnownModels(self._show)
        self._memory = ModelMemory(self._ps, self._tags, self.version, self._known)

    async def close(self) -> None:
        """Cancel every open question about models. Chats are closed by their readers."""
        await self._memory.close()
        await self._known.close()

    async def chat(
        self,
        model: str,
        body: bytes,
        record: Record | None = None,
        deliver_now: Callable[[list[Chunk]], bool] = lambda _: False,
        deliver_text_now: Callable[[bytes], bool] = lambda _: False,
    ) -> AsyncGenerator[list[Chunk]]:
        """Stream an answer: each item holds the chunks that one read completed.

        `deliver_now` gets the chunks first, without waking the task that waits here. If it returns
        True, it has delivered them, and the generator does not yield them. It always yields the
        last chunks.

        The stream ends after the chunk that says `done`. Closing the generator, or cancelling the
        task that waits in it, closes the socket at once. Only that makes Ollama stop and free its
        GPU.

        Args:
            model: The model's name, for messages.
            body: The streaming request to `/api/chat`, as JSON.
            record: Starts a recording of the HTTP exchange.
            deliver_now: Called with chunks, inside the event loop's call that received them.
            deliver_text_now: The same, for a piece of text that arrives alone; see `ChunkReader`.

        Raises:
            UpstreamError: Ollama failed, in whatever way.
            Exception: The exception that `deliver_now` raised.
        """
        answer = await self._post_chat(body, record)
        del body  # the answer may take minutes
        lines = ChunkReader(self._max_line, deliver_now, deliver_text_now)
        broken: BodyBroken | None = None
        try:
            if answer.status != 200:
                raise await _refusal(answer, model)
            answer.check_encoding()
            try:
                while not await answer.deliver(lines.deliver_now):
                    if lines.chunks:
                        yield lines.chunks
                    if lines.done:
                        return
                    if lines.failure:
                        raise lines.failure
            except BodyBroken as error:
                broken = error
            lines.end()
            if lines.chunks:
                yield lines.chunks
            self._check_end(lines, broken)
        except BadAnswer as error:
            raise self._stranger(error) from error
        finally:
            await answer.close()

    async def relay(
        self,
        answer: RelayedAnswer,
        method: str,
        target: str,
        headers: RawHeaders,
        body: AsyncGenerator[bytes] | None = None,
        *,
        chunked: bool = False,
    ) -> None:
        """Send a client's request as it is, and wait for the head of the answer.

        The answer may begin before the whole body is sent. The caller closes it; only that makes
        Ollama stop.

        Args:
            answer: Receives the answer.
            method: For example "POST".
            target: Path and query, as they stand in the client's request.
            headers: The headers to pass on.
            body: The body, in pieces.
            chunked: Whether to send the body as HTTP chunks, because its length is not known.

        Raises:
            UpstreamError: Ollama failed, in whatever way.
            Exception: The exception that `body` raised.
        """
        with self.upstream_errors():
            await self._http.begin(answer, method, target, headers)
            if body:
                answer.start_upload(body, chunked=chunked)
            await answer.wait_for_head()

    def relayed_answer(self, method: str, on_continue: Callable[[], None]) -> RelayedAnswer:
        """Return an answer for `relay`; `on_continue` is called if Ollama asks for the body."""
        return RelayedAnswer(
            self._stall_timeout, head_only=method == "HEAD", on_continue=on_continue
        )

    def _check_end(self, lines: ChunkReader, broken: BodyBroken | None) -> None:
        """Raise an error if the answer ended early; prefer Ollama's own words as the reason."""
        if broken and not lines.done and not _says_why(lines.failure):
            raise self._broken(broken.how) from broken
        if lines.failure:
            raise lines.failure

    async def _post_chat(self, body: bytes, record: Record | None) -> HttpAnswer:
        with self.upstream_errors():
            return await self._http.send(
                "POST", "/api/chat", body, stall_timeout=self._stall_timeout, record=record
            )

    @contextmanager
    def upstream_errors(self) -> Iterator[None]:
        """Turn the errors of a request into `UpstreamError`."""
        try:
            yield
        except BodyBroken as error:
            raise self._broken(error.how) from error
        except BadAnswer as error:
            raise self._stranger(error) from error
        except Redirected as error:
            raise self._elsewhere(error) from error
        except NotTrusted as error:
            raise self._not_trusted(error) from error
        except (ConnectionError, TimeoutError) as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: Exception) -> UpstreamError:
        return UpstreamError(
            ErrorCode.OLLAMA_UNREACHABLE,
            f"No Ollama answers at {self.url} ({error}). Start it with `ollama serve`, or name"
            " another with --ollama.",
        )

    def _stranger(self, error: BadAnswer) -> UpstreamError:
        what = (
            "does not speak HTTP as Ollama does" if isinstance(error, NotHttp) else "is not usable"
        )
        return UpstreamError(
            ErrorCode.UPSTREAM_GARBAGE, f"What answers at {self.url} {what}: {error}. Is it Ollama?"
        )

    def _not_trusted(self, error: NotTrusted) -> UpstreamError:
        return UpstreamError(
            ErrorCode.OLLAMA_UNREACHABLE,
            f"The certificate of {self.url} is not trusted: {sentence(str(error))} If a CA of your"
            " own has signed it, name that CA's file in SSL_CERT_FILE where dripline-server runs.",
        )

    def _elsewhere(self, error: Redirected) -> UpstreamError:
        return UpstreamError(
            ErrorCode.OLLAMA_REFUSED,
            f"{self.url} redirects ({error.status}) to {error.location}, where dripline does not"
            " follow. If your Ollama is there, name that address with --ollama.",
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
            UpstreamError: Ollama does not answer.
        """
        return await self._ask("GET", "/api/version", read=ollama_lists.read_version)

    async def models(self) -> list[Model]:
        """Return Ollama's models in its own order.

        Raises:
            UpstreamError: Ollama does not answer.
        """
        listed = await self._tags()
        memory = await self._memory.listed()
        models: dict[int, Model] = {}

        async def describe(at: int, entry: Listed) -> None:
            capabilities = entry.capabilities
            if not capabilities:
                shown = await self._known.of_listed(entry.name, entry.digest)
                capabilities = shown.capabilities
            models[at] = model = _model(entry, capabilities)
            if memory is not None:
                there = await self._memory.find(memory, entry)
                models[at] = replace(model, loaded=there is not None)
                if there:
                    models[at] = replace(
                        model,
                        loaded=True,
                        context_length=there.context,
                        loaded_until=there.expires,
                    )

        with suppress(TimeoutError):
            async with asyncio.timeout(DETAILS_TIME):
                await asyncio.gather(*(describe(at, entry) for at, entry in enumerate(listed)))
        return [models.get(at) or _model(entry) for at, entry in enumerate(listed)]

    async def details(self, model: str) -> dict[str, object]:
        """Return what Ollama says of a model, for people.

        Raises:
            UpstreamError: Ollama does not answer, or does not have the model.
        """
        body = orjson.dumps({"model": model})
        read = ollama_lists.read_details
        return await self._ask("POST", "/api/show", body, model=model, read=read)

    async def delete(self, model: str) -> None:
        """Delete a model.

        Raises:
            UpstreamError: Ollama does not answer, or does not have the model.
        """
        body = orjson.dumps({"model": model})
        await self._ask("DELETE", "/api/delete", body, model=model, read=_unread)
        self._memory.note_change(model)

    async def unload(self, model: str) -> None:
        """Free the memory that a model takes.

        Raises:
            UpstreamError: Ollama does not answer, or does not have the model.
        """
        body = orjson.dumps({"model": model, "keep_alive": 0, "stream": False})
        await self._ask("POST", "/api/generate", body, model=model, read=_unread)
        self._memory.note_change(model)

    async def pull(self, model: str) -> AsyncGenerator[PullProgress]:
        """Get a model, and yield how far that is. Leaving it closes the socket, so Ollama stops.

        Raises:
            UpstreamError: Ollama failed, in whatever way, or there is no such model.
        """
        body = orjson.dumps({"model": model, "stream": True})
        with self.upstream_errors():
            answer = await self._http.send(
                "POST", "/api/pull", body, stall_timeout=self._stall_timeout
            )
        reader = PullReader(model, self._max_line)
        try:
            if answer.status != 200:
                raise await _refusal(answer, model)
            over = False
            while not (over or reader.done or reader.failure):
                with self.upstream_errors():
                    answer.check_encoding()
                    over = await answer.deliver(reader.feed)
                if reader.progress:
                    yield reader.progress
            reader.end()
            if reader.failure:
                raise reader.failure
        finally:
            await answer.close()

    async def can(self, model: str, capability: str) -> bool | None:
        """Return whether a model has a capability; None if that is unknown."""
        return await self._known.can(model, capability)

    def note_lack(self, model: str, capability: str) -> None:
        """Remember that Ollama refused a request because the model lacks a capability."""
        self._known.note_lack(model, capability)

    def phases(self, model: str, context: int, after: float) -> AsyncGenerator[StatusPhase]:
        """Yield what a silent chat waits for; see `ModelMemory.phases`."""
        return self._memory.phases(model, context, after)

    def note_answer(self, model: str) -> None:
        """Remember that a model answers, so that it is loaded."""
        self._memory.note_answer(model)

    async def _tags(self) -> list[Listed]:
        return await self._ask("GET", "/api/tags", read=ollama_lists.read_tags)

    async def _ps(self) -> list[InMemory]:
        return await self._ask("GET", "/api/ps", read=ollama_lists.read_ps)

    async def _show(self, name: str) -> Shown:
        body = orjson.dumps({"model": name})
        return await self._ask("POST", "/api/show", body, model=name, read=ollama_lists.read_show)

    async def _ask(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        *,
        model: str = "",
        read: Callable[[Any], T],
    ) -> T:
        """Ask Ollama, and return its JSON answer after `read` has parsed it.

        Raises:
            UpstreamError: Ollama does not answer, or its answer is unusable.
        """
        with self.upstream_errors():
            try:
                status, content, compressed = await self._http.fetch(
                    method, path, body, seconds=INFO_TIMEOUT, limit=MAX_INFO
                )
            except TimeoutError as error:
                reason = str(error) or f"{path} has no answer after {INFO_TIMEOUT:g} s"
                raise self._unlisted(reason) from error
        if status != 200:
            raise refusal(status, content[:MAX_REASON], model, compressed)
        if has_too_many_values(content):
            raise self._unlisted(f"{path} answers with more bytes than a list of models can have")
        try:
            return read(load_json(content) if content else None)
        except orjson.JSONDecodeError as error:
            raise self._unlisted(f"it sent {stranger(content) or 'no JSON'}") from error
        except ValueError as error:
            raise self._unlisted(str(error)) from error

    def _unlisted(self, reason: str) -> UpstreamError:
        return UpstreamError(
            ErrorCode.OLLAMA_UNREACHABLE,
            f"No Ollama answers at {self.url} as one should: {reason}.",
        )


def _unread(_: object) -> None:
    """Nothing in the answer is of interest; Ollama sends none after a deletion."""


def _model(entry: Listed, capabilities: Sequence[str] = ()) -> Model:
    return Model(
        name=entry.name,
        size=entry.size,
        family=entry.family,
        capabilities=list(capabilities or entry.capabilities),
        loaded=None,
        created=entry.created,
    )


def _says_why(failure: UpstreamError | None) -> bool:
    """Whether the failure has Ollama's own words for why the answer ended."""
    return failure is not None and failure.code in (
        ErrorCode.OLLAMA_ERROR,
        ErrorCode.OLLAMA_REFUSED,
    )


async def _refusal(answer: HttpAnswer, model: str) -> UpstreamError:
    """Turn an error status into an error, with as much of Ollama's own text as arrives."""
    body = await answer.read_start(MAX_REASON, REASON_TIME)
    return refusal(answer.status, body, model, answer.compressed)
