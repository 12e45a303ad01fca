"""Write a recording while its stream is running."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Self

from dripline.clock import Clock, SystemClock
from dripline.http.redaction import Headers, Redaction
from dripline.recordings.exchange import ExchangeEnding, Piece, Request, Response
from dripline.recordings.last_word import TAIL, says_its_end
from dripline.recordings.lines import (
    FIRST_PART,
    Head,
    end_line,
    first_line,
    piece_line,
    request_line,
    response_line,
)


class RecordingWriter:
    """Writes a recording piece by piece. Close it, or use it as a context manager.

    Each line is written at once and unbuffered. If the process dies at any time, the file has
    everything that was read. Writing blocks the event loop, but only briefly, because it copies
    into the system's cache and does not wait for the disk: 8 µs for a token's piece, and a fraction
    of a millisecond for 4 KiB. A thread with a queue would avoid that, but a crash would lose the
    queue.

    Args:
        path: The file to create; only its owner can read it.
        overwrite: Whether to replace an existing file.
        about: A description of the recording.
        redaction: Which secrets to remove.
        clock: The clock for the recorded times.
        on_error: Called instead of raising if a later write fails. The file is then closed, and all
            further calls are silently ignored.

    Raises:
        FileExistsError: The file exists, and `overwrite` is not set.
        OSError: The file cannot be written. Each method that writes can raise it too.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        overwrite: bool = False,
        about: str = "",
        redaction: Redaction | None = None,
        clock: Clock | None = None,
        on_error: Callable[[OSError], None] | None = None,
    ) -> None:
        self.path: Path = Path(path)
        self._on_error = on_error
        self._redaction = redaction or Redaction()
        self._clock = clock or SystemClock()
        self._names = map(str, count(int(FIRST_PART)))
        self._open: dict[str, PartWriter] = {}
        self._began = self._clock.monotonic()
        self._file: int | None = open_private(path, overwrite=overwrite)
        date = datetime.fromtimestamp(self._clock.time_ns() // 10**9, UTC)
        self._write(first_line(Head(about, date=date.isoformat().replace("+00:00", "Z"))))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def closed(self) -> bool:
        """Whether the file is closed."""
        return self._file is None

    def begin(self, request: Request, *, part: str | None = None) -> PartWriter:
        """Begin an exchange; without a name it gets a number, starting with "1".

        Raises:
            ValueError: The file is closed.
        """
        name = part or next(self._names)
        self._write(request_line(name, self._now(), request.redacted(self._redaction)))
        self._open[name] = PartWriter(self, name)
        return self._open[name]

    def close(self) -> None:
        """End open exchanges as cancelled, and close the file. A second call does nothing."""
        if self._file is None:
            return
        try:
            for part in list(self._open.values()):
                part.end(ExchangeEnding.CANCELLED)
        finally:
            file, self._file = self._file, None
            os.close(file)

    # Used by `PartWriter`:

    def _now(self) -> float:
        return round(self._clock.monotonic() - self._began, 6)

    def _write(self, line: bytes) -> None:
        if self._file is None:
            if self._on_error:
                return
            raise ValueError(f"the recording {self.path} is closed")
        try:
            while line:  # on a nearly full disk, `write` may write only a part
                line = line[os.write(self._file, line) :]
        except OSError as error:
            # Nothing may follow half a line. Without one, the file is a valid unfinished recording.
            self._open.clear()
            self.close()
            if self._on_error is None:
                raise
            self._on_error(error)


class PartWriter:
    """Writes one exchange of a recording; `RecordingWriter.begin` creates it."""

    def __init__(self, writer: RecordingWriter, name: str) -> None:
        self._writer = writer
        self._name = name
        self._tail = bytearray()

    def response(self, status: int, headers: Headers) -> None:
        """Write the status and headers of the response, with the current time."""
        writer = self._writer
        response = Response(status, headers, writer._now())
        writer._write(response_line(self._name, response.redacted(writer._redaction)))

    def piece(self, data: bytes) -> None:
        """Write bytes of the body, with the current time."""
        writer = self._writer
        writer._write(piece_line(self._name, Piece(writer._now(), data)))
        self._tail += data
        if len(self._tail) > 2 * TAIL:
            del self._tail[:-TAIL]

    def end(self, ending: ExchangeEnding) -> None:
        """Write the end, with the current time. Later calls, or calls after `close`, do nothing.

        Many clients close the connection after a stream's last event, such as `[DONE]`. Whether the
        client or the server closes first is chance, so both are written as "eof".
        """
        if self._writer._open.pop(self._name, None):
            if ending is ExchangeEnding.CANCELLED and says_its_end(bytes(self._tail)):
                ending = ExchangeEnding.EOF
            self._writer._write(end_line(self._name, self._writer._now(), ending))


def open_private(path: str | Path, *, overwrite: bool) -> int:
    """Create a file for writing that only its owner can read and write.

    Raises:
        FileExistsError: The file exists, and `overwrite` is not set; or the path is not a regular
            file but, for example, a device, which is never replaced.
        OSError: The file cannot be written.
    """
    if overwrite and Path(path).is_file():
        Path(path).unlink()  # not truncated, because others might be allowed to read it
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
