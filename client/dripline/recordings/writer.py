"""Writing a recording while its stream goes on."""

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
    """Writes a recording as it happens. Close it, or use it as a context manager.

    Each line is one `write` to the operating system, at once and unbuffered, so that whenever the
    process dies, the file has all that was read. It happens in the event loop: it copies into the
    system's cache and waits for no disk, which takes 8 us for the piece that brings a token and
    a fraction of a millisecond for 4 KiB. A thread with a queue would hold what a crash then loses.

    Args:
        path: The file to make; only its owner may read it.
        overwrite: Whether it may be there already.
        about: What it shows, in words.
        redaction: Which secrets to keep out.
        clock: What time it is.
        on_error: Called instead of raising when something cannot be written later. Then the file
            is closed, and all that follows is left out in silence.

    Raises:
        FileExistsError: There is a file, and `overwrite` is not set.
        OSError: The file cannot be written; from each method that writes, too.
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
        """Begin an exchange; without a name it is numbered, from "1".

        Raises:
            ValueError: The file is closed.
        """
        name = part or next(self._names)
        self._write(request_line(name, self._now(), request.redacted(self._redaction)))
        self._open[name] = PartWriter(self, name)
        return self._open[name]

    def close(self) -> None:
        """End what is still going on as cancelled, and close the file. Again: does nothing."""
        if self._file is None:
            return
        try:
            for part in list(self._open.values()):
                part.end(ExchangeEnding.CANCELLED)
        finally:
            file, self._file = self._file, None
            os.close(file)

    # What follows is for `PartWriter`.

    def _now(self) -> float:
        return round(self._clock.monotonic() - self._began, 6)

    def _write(self, line: bytes) -> None:
        if self._file is None:
            if self._on_error:
                return
            raise ValueError(f"the recording {self.path} is closed")
        try:
            while line:  # a disk that gets full takes a part
                line = line[os.write(self._file, line) :]
        except OSError as error:
            # After half a line nothing may follow: that is an unfinished recording.
            self._open.clear()
            self.close()
            if self._on_error is None:
                raise
            self._on_error(error)


class PartWriter:
    """Writes one exchange of a recording; `RecordingWriter.begin` makes it."""

    def __init__(self, writer: RecordingWriter, name: str) -> None:
        self._writer = writer
        self._name = name
        self._tail = bytearray()

    def response(self, status: int, headers: Headers) -> None:
        """Write how the answer began, now."""
        writer = self._writer
        response = Response(status, headers, writer._now())
        writer._write(response_line(self._name, response.redacted(writer._redaction)))

    def piece(self, data: bytes) -> None:
        """Write bytes that were read now."""
        writer = self._writer
        writer._write(piece_line(self._name, Piece(writer._now(), data)))
        self._tail += data
        if len(self._tail) > 2 * TAIL:
            del self._tail[:-TAIL]

    def end(self, ending: ExchangeEnding) -> None:
        """Write how it ended, now; only the first call counts, and none once the file is closed.

        Many clients leave as soon as a stream has said its last word, such as `[DONE]`. Whether
        they or the server close first is chance: both are written as "eof".
        """
        if self._writer._open.pop(self._name, None):
            if ending is ExchangeEnding.CANCELLED and says_its_end(bytes(self._tail)):
                ending = ExchangeEnding.EOF
            self._writer._write(end_line(self._name, self._writer._now(), ending))


def open_private(path: str | Path, *, overwrite: bool) -> int:
    """Open a new file for writing, readable and writable for its owner alone.

    Raises:
        FileExistsError: There is one, and `overwrite` is not set; or it is a device or the like,
            which is never replaced.
        OSError: It cannot be written.
    """
    if overwrite and Path(path).is_file():
        Path(path).unlink()  # its permissions may be wider
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
