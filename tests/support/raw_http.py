"""HTTP by hand, for what libraries hide: each chunk as it was framed, and how the end came."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Literal

import orjson

End = Literal["complete", "FIN", "RST"]


@dataclass(slots=True)
class RawResponse:
    """What came over the wire.

    Attributes:
        status: The HTTP status; 0 where nothing came.
        headers: By lower-case name.
        chunks: The HTTP chunks, or the body in one where it has a length.
        end: Whether HTTP says that the body is complete, or the connection closed before.
    """

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    chunks: list[bytes] = field(default_factory=list)
    end: End = "complete"

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)

    @property
    def lines(self) -> list[bytes]:
        return self.body.splitlines(keepends=True)


def raw_request(method: str, path: str, body: object = None) -> bytes:
    """The bytes of a request; a body that is not bytes becomes JSON."""
    data = body if isinstance(body, bytes) else b"" if body is None else orjson.dumps(body)
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(data)}\r\n\r\n"
    return head.encode() + data


async def raw_exchange(url: str, method: str, path: str, body: object = None) -> RawResponse:
    """Send one request, and read until the response or the connection ends."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    response = RawResponse()
    try:
        writer.write(raw_request(method, path, body))
        await _read_response(reader, response, has_body=method != "HEAD")
    except asyncio.IncompleteReadError:
        response.end = "FIN"
    except ConnectionResetError:
        response.end = "RST"
    finally:
        writer.transport.abort()
    return response


async def _read_response(
    reader: asyncio.StreamReader, response: RawResponse, *, has_body: bool
) -> None:
    status_line, *fields = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
    response.status = int(status_line.split()[1])
    for line in filter(None, fields):
        name, value = line.split(": ", 1)
        response.headers[name.lower()] = value
    if has_body and "content-length" in response.headers:
        response.chunks.append(await reader.readexactly(int(response.headers["content-length"])))
    elif has_body:
        while size := int(await reader.readuntil(b"\r\n"), 16):
            response.chunks.append((await reader.readexactly(size + 2))[:-2])


def texts(lines: list[bytes]) -> list[str]:
    """The `message.content` of each line of an Ollama stream."""
    return [json.loads(line)["message"]["content"] for line in lines]
