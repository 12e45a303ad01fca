"""An answer's way out: what `PiecewiseResponse` sends, cut by the script's split plan."""

from __future__ import annotations

from collections.abc import Iterable

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from dripline.recordings.serving import PiecewiseResponse
from dripline.recordings.splits import SplitPlan
from dripline.testing.fake_ollama.received import ReceivedRequest


class ResponseBody(PiecewiseResponse):
    """The response to one request, which notes in `received` what status was sent."""

    def __init__(
        self,
        http: web.BaseRequest,
        received: ReceivedRequest,
        split: SplitPlan,
        headers: Iterable[tuple[str, str]],
        *,
        status: int = 200,
    ) -> None:
        super().__init__(http, status, headers)
        self._received = received
        self._split = split

    async def start(self) -> AbstractStreamWriter:
        """Send the headers, if they have not been sent."""
        if not self.started:
            self._received.status = self.response.status
        return await super().start()

    async def send(self, data: bytes) -> None:
        """Send bytes, cut by the split plan; returns when the network has taken them all."""
        for piece in self._split([data]):
            await super().send(piece)

    async def send_whole(self, data: bytes) -> None:
        """Send a body that is known in full, with its length instead of chunks, and end it."""
        self.response.content_length = len(data)
        await self.send(data)
        await self.response.write_eof()
