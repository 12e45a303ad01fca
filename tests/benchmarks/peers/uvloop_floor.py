"""The floor: two bare uvloop protocols that read and write as many bytes as dripline does.

It knows no HTTP, parses nothing and keeps nothing: what it costs, any relay on this event loop
costs at least. Of each line of the source's the text alone is copied, so that the reader finds its
time; flat out it writes the same frame again.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import cast
from urllib.parse import urlsplit

import uvloop

OLLAMA = urlsplit(os.environ["OLLAMA_HOST"])
HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
MARK = b'"content":'
VALUE = len('" @000000000000"')
FRAME = b'id: 100\ndata: {"type":"text_message","data":{"content":%b}}\n\n'
FLAT = FRAME % b'" sky"'


class Upstream(asyncio.Protocol):
    """The source's side of a stream."""

    def __init__(self, request: bytes, reader: asyncio.Transport) -> None:
        self._request = request
        self._write = reader.write

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        tokens = data.count(MARK)
        if tokens == 1:
            at = data.find(MARK) + len(MARK)
            frames = FRAME % data[at : at + VALUE]
        else:
            frames = FLAT * tokens
        if frames:
            self._write(b"%x\r\n%b\r\n" % (len(frames), frames))


class Downstream(asyncio.Protocol):
    """The reader's side of a stream: its request is sent on as it is."""

    def __init__(self) -> None:
        self._upstream: Upstream | None = None
        self._connecting: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self._connecting is None:
            self._connecting = asyncio.create_task(self._connect(data))

    async def _connect(self, request: bytes) -> None:
        self.transport.write(HEAD)
        self._upstream = Upstream(
            request.replace(b"POST /chat", b"POST /api/chat", 1), self.transport
        )
        upstream = self._upstream
        await asyncio.get_running_loop().create_connection(
            lambda: upstream, OLLAMA.hostname, OLLAMA.port
        )

    def pause_writing(self) -> None:
        if self._upstream:
            self._upstream.transport.pause_reading()

    def resume_writing(self) -> None:
        if self._upstream:
            self._upstream.transport.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        if self._upstream:
            self._upstream.transport.abort()


async def main() -> None:
    """Listen until told to end."""
    server = await asyncio.get_running_loop().create_server(
        Downstream, "127.0.0.1", int(sys.argv[1]), backlog=4096
    )
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
