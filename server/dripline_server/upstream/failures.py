"""The error that reports a failure of Ollama."""

from __future__ import annotations

from dripline.errors import ErrorCode


class UpstreamError(Exception):
    """Ollama could not answer, or its answer broke off.

    Attributes:
        code: The kind of failure.
        message: What happened and what to do, for the user.
    """

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"
