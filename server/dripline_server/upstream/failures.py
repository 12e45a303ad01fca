"""The ways in which Ollama can fail."""

from __future__ import annotations

from dripline.errors import ErrorCode


class UpstreamError(Exception):
    """Ollama could not answer, or not to the end.

    Attributes:
        code: Which of the ways.
        message: What happened and what to do, for a person.
    """

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"
