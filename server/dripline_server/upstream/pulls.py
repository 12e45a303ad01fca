"""Reads the progress of a pull: lines of JSON, one total over all of a model's files. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dripline.errors import ErrorCode
from dripline.json_text import load_json
from dripline.ndjson import LineSplitter
from dripline_server.upstream.failures import UpstreamError
from dripline_server.upstream.ollama_refusals import error_line

# A model has some ten files. Their digests come from outside, so their number is limited.
MAX_FILES = 1000
_PHASES = ("pulling", "verifying", "writing", "removing")


@dataclass(frozen=True, slots=True)
class PullProgress:
    """How far a pull is.

    Attributes:
        phase: "pulling", then "verifying", "writing" or "removing".
        completed: Bytes that are there, of the files that Ollama has named so far.
        total: Bytes of these files.
    """

    phase: str
    completed: int
    total: int


class PullReader:
    """The progress of one pull.

    Attributes:
        progress: The latest; None before the first.
        done: Whether Ollama said that the model is there.
        failure: Why the pull failed; None if it did not.
    """

    def __init__(self, model: str, max_line: int) -> None:
        self.progress: PullProgress | None = None
        self.done = False
        self.failure: UpstreamError | None = None
        self._model = model
        self._splitter = LineSplitter(max_line)
        self._files: dict[str, tuple[int, int]] = {}

    def feed(self, data: bytes) -> bool:
        """Read a piece of the body; always returns False, so that the caller sees each piece."""
        for line in self._splitter.feed(data):
            if line.strip() and not (self.done or self.failure):
                self._read(line)
        if self._splitter.too_long:
            message = f"From Ollama: a line is longer than {self._splitter.max_line:,} bytes."
            self.failure = UpstreamError(ErrorCode.UPSTREAM_LINE_TOO_LONG, message)
        return False

    def end(self) -> None:
        """Set `failure` if the body ended too early."""
        if not (self.done or self.failure):
            self.failure = UpstreamError(
                ErrorCode.UPSTREAM_TRUNCATED,
                "Ollama's answer stopped before the model was there. Pull it again: what has"
                " arrived is kept.",
            )

    def _read(self, line: bytes) -> None:
        try:
            content = load_json(line)
        except ValueError:
            content = None
        if not isinstance(content, Mapping):
            message = "Ollama sent a line that is not JSON. Is it Ollama that answers there?"
            self.failure = UpstreamError(ErrorCode.UPSTREAM_GARBAGE, message)
        elif "error" in content:
            self.failure = self._refusal(content)
        else:
            self._take(content)

    def _refusal(self, content: Mapping[str, Any]) -> UpstreamError:
        if "file does not exist" in str(content["error"]):
            return UpstreamError(
                ErrorCode.MODEL_NOT_FOUND,
                f"There is no model {self._model!r} to get. Look its name up at"
                " https://ollama.com/search.",
            )
        return error_line(content)

    def _take(self, content: Mapping[str, Any]) -> None:
        status = str(content.get("status", ""))
        self.done = status == "success"
        digest = str(content.get("digest", ""))
        total = _count(content.get("total"))
        if total and (digest in self._files or len(self._files) < MAX_FILES):
            self._files[digest] = (_count(content.get("completed")), total)
        first = status.partition(" ")[0]
        self.progress = PullProgress(
            first if first in _PHASES else "pulling",
            sum(completed for completed, _ in self._files.values()),
            sum(total for _, total in self._files.values()),
        )


def _count(value: object) -> int:
    return value if isinstance(value, int) and 0 < value < 2**53 else 0
