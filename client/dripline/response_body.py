"""Reading an aiohttp response as it comes, to its last byte and with a clear ending."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Literal

import aiohttp
from aiohttp.client_proto import ResponseHandler

Break = Literal["cut", "reset", "timeout"]


class BodyBroken(Exception):
    """The body did not come to its end.

    Attributes:
        how: "cut": the connection closed inside it; "reset": it was reset; "timeout": nothing came
            for longer than the session's `sock_read`.
    """

    def __init__(self, how: Break) -> None:
        super().__init__(how)
        self.how = how

    def __str__(self) -> str:
        return {
            "cut": "the connection closed in the middle",
            "reset": "the connection was reset",
            "timeout": "nothing came for too long",
        }[self.how]


async def chunks(response: aiohttp.ClientResponse) -> AsyncGenerator[bytes]:
    """Yield the body in the pieces in which it is read; every byte that arrived comes.

    Ends at the body's proper end. Safe to cancel and to close early; the response stays the
    caller's to close.

    Raises:
        BodyBroken: The body did not come to its end.
    """
    # The protocol keeps what closed the socket; the payload's own error hides it.
    protocol = response.connection.protocol if response.connection else None
    async with aclosing(read_pieces(response.content, protocol)) as pieces:
        async for piece in pieces:
            yield piece


async def read_pieces(
    content: aiohttp.StreamReader, protocol: ResponseHandler | None
) -> AsyncGenerator[bytes]:
    """Do what `chunks` does, with a response's parts.

    Args:
        content: The response's content.
        protocol: Its connection's protocol; None once the connection has been given back.

    Raises:
        BodyBroken: The body did not come to its end.
    """
    try:
        while chunk := await content.readany():
            yield chunk
    except (aiohttp.ClientError, TimeoutError) as error:
        if isinstance(error, TimeoutError):
            how: Break = "timeout"
        elif protocol is not None and isinstance(protocol.exception(), OSError):
            how = "reset"
        else:
            how = "cut"
        # aiohttp raises before it hands out what had arrived; that must not be lost.
        content._exception = None
        if rest := content.read_nowait():
            yield rest
        raise BodyBroken(how) from error
