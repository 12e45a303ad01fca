"""An OpenAI-compatible server, such as vLLM or llama.cpp, whose models answer chats."""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from dripline.errors import ErrorCode, RunFailed
from dripline.http.response_body import BodyBroken, Break
from dripline.json_fields import typed
from dripline.json_text import has_too_many_values, load_json
from dripline_server.agents.agent import AgentFunction
from dripline_server.agents.agent_chat import Chat
from dripline_server.agents.openai_refusals import server_refusal
from dripline_server.agents.openai_request import completion_request
from dripline_server.agents.openai_stream import OpenAIEvent, OpenAIStream
from dripline_server.upstream.address import OllamaAddress
from dripline_server.upstream.failures import UpstreamError
from dripline_server.upstream.http_client import (
    BadAnswer,
    HttpAnswer,
    HttpClient,
    NotTrusted,
    Redirected,
)
from dripline_server.upstream.ollama import MAX_REASON, REASON_TIME, Model
from dripline_server.upstream.shared_answer import SharedAnswer

logger = logging.getLogger(__name__)

# What `start` calls the agent of all these models.
OPENAI = "openai"
STALL_TIMEOUT = 600.0
MAX_EVENT = 16 * 1024 * 1024
# The list of models: seconds to wait for it, and its longest size in bytes.
LIST_TIME = 3.0
MAX_LIST = 4 * 1024 * 1024
_ACCEPT = ("Accept", "text/event-stream")


def openai_model(url: str, model: str, *, api_key: str = "") -> AgentFunction:
    """Return an agent that is a model of an OpenAI-compatible server.

    `--openai URL` offers all models of a server; this is for one of them, under a name of your own.

    Args:
        url: The server's address, up to and with `/v1`.
        model: The model's name there.
        api_key: Sent as a bearer token.
    """
    server = OpenAIServer(url, api_key)

    async def answer(chat: Chat) -> AsyncGenerator[OpenAIEvent]:
        async for piece in server.answer(chat, model):
            yield piece

    answer.__doc__ = f"{model} at {server.url}."
    return answer


class OpenAIServer:
    """One server, for the whole life of this one. Close it with `close()`.

    Args:
        url: Its address, up to and with `/v1`; it may contain a user and a password.
        api_key: Sent as a bearer token.
        stall_timeout: Give an answer up after this many seconds of silence; 0: never.
        max_event_size: The longest event accepted, in bytes.
        think_tags: Whether to look for `<think>` tags in the text.

    Attributes:
        url: Its address for messages, without the user and the password.
        models: Its models by name, as last listed.
        failure: Why they could not be listed the last time; None if they could.
    """

    def __init__(
        self,
        url: str,
        api_key: str = "",
        *,
        stall_timeout: float = STALL_TIMEOUT,
        max_event_size: int = MAX_EVENT,
        think_tags: bool = True,
    ) -> None:
        address = OllamaAddress(url, (_ACCEPT,), api_key)
        self.url = address.url
        self.models: Mapping[str, Model] = {}
        self.failure: UpstreamError | None = None
        self._http = HttpClient(address)
        self._stall_timeout = stall_timeout
        self._max_event_size = max_event_size
        self._think_tags = think_tags
        self._listed = SharedAnswer(self._list, math.inf)

    async def close(self) -> None:
        """Cancel the open question for the models. Chats are closed by their runs."""
        await self._listed.close()

    async def answer(self, chat: Chat, model: str = "") -> AsyncGenerator[OpenAIEvent]:
        """Yield a model's answer to a chat, as it comes.

        Closing the generator, or cancelling the task that waits in it, closes the connection, which
        stops the model.

        Args:
            chat: The chat.
            model: The model's name; by default the chat's.

        Raises:
            RunFailed: The server failed, in whatever way, or its answer is not whole.
        """
        if not chat.messages:
            return  # Ollama loads its model then, but there is nothing to answer
        try:
            body = completion_request(chat, model or chat.model)
            with self._errors():
                answer = await self._http.send(
                    "POST",
                    "/chat/completions",
                    body,
                    stall_timeout=self._stall_timeout,
                    record=chat.record,
                )
            del body  # the answer may take minutes
            try:
                async for piece in self._pieces(answer, chat, model or chat.model):
                    yield piece
            finally:
                await answer.close()
        except UpstreamError as error:
            code = error.code
            raise RunFailed(code, error.message, retryable=code.retryable) from error

    async def _pieces(
        self, answer: HttpAnswer, chat: Chat, model: str
    ) -> AsyncGenerator[OpenAIEvent]:
        with self._errors():
            if answer.status != 200:
                start = await answer.read_start(MAX_REASON, REASON_TIME)
                raise server_refusal(self.url, answer.status, start, model, answer.compressed)
            answer.check_encoding()
        stream = OpenAIStream(
            self.url, max_event_size=self._max_event_size, think_tags=self._think_tags
        )
        reads: list[bytes] = []

        def keep(read: bytes) -> bool:
            reads.append(read)
            return False

        try:
            while not (stream.done or stream.failure):
                with self._errors():
                    if await answer.deliver(keep):
                        raise stream.end()
                for piece in stream.feed(reads.pop()):
                    yield piece
        finally:
            chat.usage += stream.usage
            chat.reason = stream.reason or chat.reason
        if stream.failure:
            raise stream.failure

    async def list_models(self, since: float) -> None:
        """Ask for the models, which are in `models` then; if that fails, those known stay.

        Args:
            since: Ask again if the last list is older than this time of the event loop.
        """
        await self._listed.within(LIST_TIME + 1, since)

    async def _list(self) -> None:
        try:
            with self._errors():
                try:
                    status, content, compressed = await self._http.fetch(
                        "GET", "/models", seconds=LIST_TIME, limit=MAX_LIST
                    )
                except TimeoutError as error:
                    reason = str(error) or f"/models has no answer after {LIST_TIME:g} s"
                    raise self._unreachable(reason) from error
            if status != 200:
                raise server_refusal(self.url, status, content[:MAX_REASON], "", compressed)
            self.models = self._read_list(content)
            self.failure = None
        except UpstreamError as error:
            if self.failure is None:
                logger.warning("%s", error.message)
            self.failure = error

    def _read_list(self, content: bytes) -> Mapping[str, Model]:
        listed: Any = None
        with suppress(ValueError):
            listed = None if has_too_many_values(content) else load_json(content)
        entries = listed.get("data") if isinstance(listed, dict) else listed
        if not isinstance(entries, list):
            raise UpstreamError(
                ErrorCode.UPSTREAM_GARBAGE,
                f"/models of the server at {self.url} is not a list of models. Is --openai the"
                " address of an OpenAI-compatible server, up to and with /v1?",
            )
        found = {}
        for entry in entries:
            name = entry.get("id") if isinstance(entry, dict) else None
            if isinstance(name, str) and name:
                found[name] = self._model(name, entry)
        return found

    def _model(self, name: str, entry: Mapping[str, Any]) -> Model:
        about = typed(entry.get("meta"), dict) or {}  # of llama.cpp
        return Model(
            name=name,
            size=max(0, typed(about.get("size"), int) or 0),
            family="",
            capabilities=[],
            loaded=None,
            created=max(0, typed(entry.get("created"), int) or 0),
            description=f"at {self.url}",
        )

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn the errors of a request into `UpstreamError`."""
        garbage, refused = ErrorCode.UPSTREAM_GARBAGE, ErrorCode.UPSTREAM_REFUSED
        try:
            yield
        except BodyBroken as error:
            raise self._broken(error.how) from error
        except BadAnswer as error:
            message = f"The answer of the server at {self.url} is not usable: {error}."
            raise UpstreamError(garbage, message) from error
        except Redirected as error:
            message = (
                f"{self.url} redirects ({error.status}) to {error.location}, where dripline does"
                " not follow. If that is the right address, name it with --openai."
            )
            raise UpstreamError(refused, message) from error
        except NotTrusted as error:
            reason = f"its certificate is not trusted: {error}; SSL_CERT_FILE can name its CA"
            raise self._unreachable(reason) from error
        except (ConnectionError, TimeoutError) as error:
            raise self._unreachable(str(error)) from error

    def _unreachable(self, reason: str) -> UpstreamError:
        return UpstreamError(
            ErrorCode.UPSTREAM_UNREACHABLE,
            f"No server answers at {self.url} ({reason}). Start it, or change --openai.",
        )

    def _broken(self, how: Break) -> UpstreamError:
        match how:
            case "reset":
                code, what = ErrorCode.UPSTREAM_RESET, "was reset"
            case "cut":
                code, what = ErrorCode.UPSTREAM_CUT, "closed in the middle"
            case "timeout":
                message = (
                    f"The server at {self.url} sent nothing for {self._stall_timeout:g} s. Try"
                    " again, or raise --stall-timeout."
                )
                return UpstreamError(ErrorCode.UPSTREAM_STALLED, message)
        return UpstreamError(code, f"The connection to {self.url} {what}. Try again.")
