"""An answer's way out: its headers in Go's order, its bytes cut by a split plan, and its faults."""

from __future__ import annotations

from collections.abc import Iterable
from email.utils import formatdate

from aiohttp import hdrs, web
from aiohttp.abc import AbstractStreamWriter

from dripline.clock import forever
from dripline.recordings.serving import PiecewiseResponse
from dripline.recordings.splits import SplitPlan, whole
from dripline.testing.fake_ollama import wire
from dripline.testing.fake_ollama.faults import Fault, FaultKind
from dripline.testing.fake_ollama.received import Ending, Phase, ReceivedRequest

_GO_BUFFER = 2048  # bytes that Go's server waits for before it sends the head


class _GoResponse(web.StreamResponse):
    """A response whose head says what Go's says: no `Server`."""

    async def _prepare_headers(self) -> None:
        await super()._prepare_headers()
        self.headers.popall(hdrs.SERVER, None)


class ResponseBody(PiecewiseResponse):
    """The response to one request, which notes in `received` what status was sent.

    Args:
        http: The request, as aiohttp has it.
        received: Where to note what happens.
        split: How the bytes are cut.
        headers: The headers, without those of the body's length.
        status: The HTTP status.
        fault: A fault that strikes at a byte, or None.

    Attributes:
        over: Whether a fault has ended it.
    """

    def __init__(
        self,
        http: web.BaseRequest,
        received: ReceivedRequest,
        split: SplitPlan = whole,
        headers: Iterable[tuple[str, str]] = (),
        *,
        status: int = 200,
        fault: Fault | None = None,
    ) -> None:
        # Go writes headers by name, and then the date and the length.
        given = sorted(headers, key=lambda header: header[0])
        if all(name.lower() != "date" for name, _ in given):
            given.append(("Date", formatdate(usegmt=True)))
        super().__init__(http, status, given)
        self.response: web.StreamResponse = _GoResponse(
            status=status, headers=self.response.headers
        )
        self.over: bool = False
        self._received = received
        self._head_alone = http.method == "HEAD"
        self._split = split
        self._fault = fault if fault and fault.at_byte is not None else None
        self._bytes_left = (fault.at_byte or 0) if fault else 0

    async def start(self) -> AbstractStreamWriter:
        """Send the headers, if they have not been sent."""
        if not self.started:
            self._received.status = self.response.status
        return await super().start()

    async def send(self, data: bytes) -> None:
        """Send bytes, cut by the split plan; returns when the network has taken them all."""
        if self._fault and len(data) >= self._bytes_left:
            fault, self._fault = self._fault, None
            before, after = data[: self._bytes_left], data[self._bytes_left :]
            await self._send(before)
            await self.strike(fault)
            await self._send(after)
            return
        self._bytes_left -= len(data)
        await self._send(data)

    async def _send(self, data: bytes) -> None:
        if not data or self.over:
            return
        for piece in self._split([data]):
            await super().send(piece)

    async def send_whole(self, data: bytes | None) -> None:
        """Send a body that is known in full, and end it.

        Like Go, it tells the length of a short one, and cuts a long one into chunks. To HEAD it is
        only the length that is sent; None has none.
        """
        if data is not None and (len(data) <= _GO_BUFFER or self._head_alone):
            self.response.content_length = self._length_of(data)
        if not data or self._head_alone:
            await self.start()
        else:
            await self.send(data)
        if not self.over:
            await self.response.write_eof()

    def _length_of(self, data: bytes) -> int:
        """Return the length that the head says: a fault may end the body well, and earlier."""
        fault = self._fault
        if not fault or len(data) < self._bytes_left:
            return len(data)
        match fault.kind:
            case FaultKind.TRUNCATED:
                return self._bytes_left
            case FaultKind.ERROR:
                return self._bytes_left + len(_error_bytes(fault))
            case FaultKind.GARBAGE:
                return len(data) + len(fault.line)
            case _:
                return len(data)

    async def strike(self, fault: Fault) -> None:
        """Let a fault happen that does not depend on what is said; most end the answer."""
        self._received.fault = fault
        match fault.kind:
            case FaultKind.STALL:
                self._received.enter(Phase.STALLED)
                await forever()
            case FaultKind.CUT:
                self._end()
                self.cut()
            case FaultKind.RESET:
                self._end()
                await self.reset()
            case FaultKind.TRUNCATED:
                await self.finish()
                self._end()
            case FaultKind.ERROR:
                await self._send(_error_bytes(fault))
                await self.finish()
                self._end()
            case FaultKind.GARBAGE:
                await self._send(fault.line)
            case FaultKind.STATUS | FaultKind.LONG_LINE | FaultKind.LOOP:
                raise AssertionError("this fault does not strike at a byte")

    def _end(self) -> None:
        self.over = True
        self._received.end(Ending.FAULTED)


def _error_bytes(fault: Fault) -> bytes:
    return wire.error(fault.message) + b"\n"
