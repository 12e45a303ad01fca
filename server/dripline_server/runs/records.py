"""`--record`: one file for each run, with the bytes from Ollama and the bytes to each reader.

A recording never disturbs a run. If a file cannot be written, the error is logged, and the file
stays incomplete.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Self

from aiohttp import web

from dripline.http.redaction import Headers
from dripline.recordings.recording import ExchangeEnding, Request
from dripline.recordings.writer import PartWriter, RecordingWriter
from dripline_server.run_log import ID_SHOWN

logger = logging.getLogger(__name__)


# The body of a request, stored here once it has been read.
BODY = web.RequestKey("BODY", bytes)


class ReaderRecord:
    """The bytes sent to one reader. Leaving the context ends it: as cancelled, unless finished."""

    def __init__(self, run: RunRecord, part: PartWriter) -> None:
        self._run = run
        self._part = part

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._part.end(ExchangeEnding.CANCELLED)
        self._run.reader_left()

    def started(self, response: web.StreamResponse) -> None:
        """Record the status and the headers of the response."""
        self.answered(response.status, tuple(response.headers.items()))

    def answered(self, status: int, headers: Headers) -> None:
        """Record a status and headers."""
        self._part.response(status, headers)

    def sent(self, data: bytes) -> None:
        """Record bytes that were handed to the network."""
        self._part.piece(data)

    def finished(self) -> None:
        """Record that the body is complete."""
        self.ended(ExchangeEnding.EOF)

    def ended(self, how: ExchangeEnding) -> None:
        """Record how the exchange ended. Only the first call has an effect."""
        self._part.end(how)


class RunRecord:
    """The recording of one run; it closes when the run and all its readers have ended."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer = RecordingWriter(path, on_error=self._give_up)
        self._requests = count(1)
        self._numbers = count(1)
        self._readers = 0
        self._run_ended = False

    def upstream(self, request: Request) -> PartWriter:
        """Start the part for a request to Ollama. Tool calls and redirects cause further ones."""
        number = next(self._requests)
        return self._writer.begin(request, part="upstream" if number == 1 else f"upstream-{number}")

    def reader(self, request: web.Request) -> ReaderRecord | None:
        """Start the part for a reader; return None if the file is closed already."""
        asked = Request(
            request.method,
            str(request.url),
            tuple(request.headers.items()),
            request.get(BODY, b""),
        )
        if self._writer.closed:
            return None
        self._readers += 1
        return ReaderRecord(self, self._writer.begin(asked, part=f"sent-{next(self._numbers)}"))

    def reader_left(self) -> None:
        """Count a reader as gone, and close the file after the last one."""
        self._readers -= 1
        self._close_when_through()

    def run_ended(self) -> None:
        """Mark the run as ended, and close the file if no reader is left."""
        self._run_ended = True
        self._close_when_through()

    def close(self) -> None:
        """Close the file now, even if the run or readers continue."""
        self._writer.close()

    def _close_when_through(self) -> None:
        if self._run_ended and not self._readers:
            self._writer.close()

    def _give_up(self, error: OSError) -> None:
        logger.error("the recording %s is unfinished: %s", self._path, error)


class RunRecords:
    """The recordings of this process's runs, in a folder.

    Args:
        folder: The folder for the files. A missing folder is created, readable only by its owner.
            "" records nothing.

    Raises:
        OSError: The folder cannot be created.
    """

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder) if folder else None
        self._open: dict[str, RunRecord] = {}
        if self._folder:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def begin(self, run_id: str) -> RunRecord | None:
        """Start the recording of a run; return None if it is not recorded."""
        if self._folder is None:
            return None
        time = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        name = f"run-{time}-{run_id[:ID_SHOWN]}"
        for number in count(1):
            # Two ids may start alike in the same second, and processes may share the folder.
            path = self._folder / (f"{name}-{number}.jsonl" if number > 1 else f"{name}.jsonl")
            try:
                self._open[run_id] = RunRecord(path)
            except FileExistsError:
                continue
            except OSError as error:
                logger.error("the recording %s cannot be made: %s", path, error)
                return None
            break
        return self._open[run_id]

    def find(self, run_id: str) -> RunRecord | None:
        """Return the recording of an active run; None if there is none."""
        return self._open.get(run_id)

    def end(self, run_id: str) -> None:
        """Finish the recording of a run. Readers that come later are not recorded."""
        if record := self._open.pop(run_id, None):
            record.run_ended()

    def close(self) -> None:
        """Close every file."""
        while self._open:
            self._open.popitem()[1].close()
