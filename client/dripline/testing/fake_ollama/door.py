"""A door: how one endpoint writes what a model says. One script goes through all of them."""

from __future__ import annotations

from collections.abc import Sequence

from dripline.testing.fake_ollama import wire
from dripline.testing.fake_ollama.request import ApiError
from dripline.testing.fake_ollama.wire import AnswerStep

UNCACHED: Sequence[tuple[str, str]] = (
    ("Cache-Control", "no-cache"),
    ("Connection", "keep-alive"),
)


class Door:
    """How an endpoint writes an answer; this one as `/api/chat` does.

    Attributes:
        stream_type: The type of a stream.
        whole_type: The type of an answer in one piece.
        stream_headers: What else a stream says in its head, and its refusal too.
    """

    stream_type = wire.NDJSON
    whole_type = wire.JSON
    stream_headers: Sequence[tuple[str, str]] = ()

    def line(self, step: AnswerStep) -> bytes:
        """Return what is sent for one step of a stream."""
        return self.whole(step) + b"\n"

    def whole(self, step: AnswerStep) -> bytes:
        """Return the whole answer in one piece."""
        return wire.chat_response(step)

    def error_line(self, message: str) -> bytes:
        """Return what is sent for an error inside a stream."""
        return wire.error(message) + b"\n"

    def garbage(self, line: bytes) -> bytes:
        """Return a line that is not Ollama's as one of the stream."""
        return line + b"\n"

    def refusal(self, refused: ApiError) -> tuple[str, bytes]:
        """Return the type and the body of an error status."""
        return wire.JSON, wire.error(refused.message)


class GenerateDoor(Door):
    """`/api/generate`."""

    def whole(self, step: AnswerStep) -> bytes:
        """Return the whole answer in one piece."""
        return wire.generate_response(step)
