"""Whatever is wrong with a request is an HTTP status that names the field."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from aiohttp.web import Application, Request
from pytest_aiohttp.plugin import AiohttpClient

from dripline import ErrorCode
from dripline_server.app import create_app
from dripline_server.settings import Settings

Client = TestClient[Request, Application]


@pytest.fixture
async def client(aiohttp_client: AiohttpClient) -> Client:
    """A server that has no Ollama: no request here gets as far as that."""
    settings = Settings(ollama="http://127.0.0.1:1", model="story", max_body=10_000)
    return await aiohttp_client(create_app(settings))


JSON = "application/json"
MESSAGE = {"role": "user", "content": "Hi"}


def body(**fields: Any) -> dict[str, Any]:
    return {"messages": [MESSAGE], **fields}


BAD_FIELDS: dict[str, tuple[Any, str]] = {
    "a list": ([], "body: "),
    "text": ("Hi", "body: "),
    "nothing": ({}, "messages: "),
    "no messages": ({"messages": []}, "messages: "),
    "messages are text": ({"messages": "Hi"}, "messages: "),
    "a message is text": ({"messages": ["Hi"]}, "messages.0: "),
    "no role": ({"messages": [MESSAGE, {"content": "Hi"}]}, "messages.1.role: "),
    "strange role": ({"messages": [{"role": "god", "content": ""}]}, "messages.0.role: "),
    "content is a number": ({"messages": [{"role": "user", "content": 1}]}, "messages.0.content: "),
    "images are text": ({"messages": [{**MESSAGE, "images": "x"}]}, "messages.0.images: "),
    "tool calls": ({"messages": [{**MESSAGE, "tool_calls": [1]}]}, "messages.0.tool_calls.0: "),
    "an image that is a page": (
        {"messages": [{**MESSAGE, "images": ["aGk=", "data:text/html;base64,aGk="]}]},
        "messages.0.images.1: ",
    ),
    "model is a number": (body(model=7), "model: "),
    "a long model": (body(model="m" * 601), "model: "),
    "options is a list": (body(options=[]), "options: "),
    "think": (body(think="very hard"), "think"),
    "keep_alive": (body(keep_alive=[]), "keep_alive"),
    "tools": (body(tools={}), "tools: "),
    "stream is text": (body(stream="yes"), "stream: "),
    "logprobs": (body(logprobs=1), "logprobs: "),
    "top_logprobs": (body(top_logprobs="2"), "top_logprobs: "),
    "ui_control": (body(ui_control="on"), "ui_control: "),
    "an option": (body(temperature=0.1), "temperature: "),
    "upstream": (body(ollama="http://example.com"), "ollama: "),
}


@pytest.mark.parametrize(("payload", "start"), BAD_FIELDS.values(), ids=BAD_FIELDS)
async def test_a_bad_field_is_named(client: Client, payload: Any, start: str) -> None:
    """400 `bad_field`, with the field's path first in the message."""
    response = await client.post("/chat", json=payload)
    assert response.status == 400
    error = (await response.json())["error"]
    assert error["code"] == ErrorCode.BAD_FIELD
    assert error["message"].startswith(start)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{",
        b"{'messages': []}",
        b'{"messages": "\xff"}',
        b"[" * 9000,
        b'{"options": {"seed": NaN}}',
        b'{"messages": [{"role": "user"}], "format": ' + b"[" * 300 + b"]" * 300 + b"}",
        b'{"messages": [{"role": "user"}], "tools": [{"a":' + b"[" * 250 + b"]" * 250 + b"}]}",
    ],
    ids=["empty", "half", "python", "latin-1", "deep", "NaN", "deeper", "too deep"],
)
async def test_a_body_that_is_no_json(client: Client, payload: bytes) -> None:
    """400 `bad_json`."""
    headers = {"Content-Type": "application/json"}
    response = await client.post("/chat", data=payload, headers=headers)
    assert response.status == 400
    assert (await response.json())["error"]["code"] == ErrorCode.BAD_JSON


@pytest.mark.parametrize(
    ("method", "path", "headers", "data", "status", "code"),
    [
        ("POST", "/chat", {"Content-Type": "text/plain"}, b"{}", 415, "unsupported_media_type"),
        (
            "POST",
            "/chat",
            {"Content-Type": "application/json"},
            b" " * 10_001,
            413,
            "body_too_large",
        ),
        ("GET", "/chat", {}, b"", 405, "method_not_allowed"),
        ("HEAD", "/runs/x/events", {}, b"", 405, None),
        ("GET", "/nothing", {}, b"", 404, "not_found"),
        ("GET", "/static/../setup.cfg", {}, b"", 404, "not_found"),
        ("GET", "/static/%2e%2e/setup.cfg", {}, b"", 404, "not_found"),
    ],
)
async def test_requests_that_are_no_chats(
    client: Client,
    method: str,
    path: str,
    headers: dict[str, str],
    data: bytes,
    status: int,
    code: str | None,
) -> None:
    """Each has its status and its code, as JSON."""
    response = await client.request(method, path, headers=headers, data=data)
    assert response.status == status
    if method == "HEAD":
        assert await response.read() == b""
        return
    error = (await response.json())["error"]
    assert error["code"] == code
    for word in {405: ["POST"], 413: ["10,000", "--max-body"]}.get(status, []):
        assert word in error["message"]


async def test_no_model_is_named(aiohttp_client: AiohttpClient) -> None:
    """Without a default, the request must name one."""
    client = await aiohttp_client(create_app(Settings(ollama="http://127.0.0.1:1")))
    response = await client.post("/chat", json=body())
    assert response.status == 400
    assert (await response.json())["error"]["message"].startswith("model: ")


async def test_a_body_that_is_not_encoded_as_it_says(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """A 400, and no fault of ours in the log."""
    headers = {"Content-Type": JSON, "Content-Encoding": "gzip"}
    async with client.post("/chat", data=b"hello", headers=headers) as response:
        assert response.status == 400
        error = (await response.json())["error"]
    assert error["code"] == "bad_json"
    assert "encoded" in error["message"]
    await client.close()
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


async def test_headers_that_are_no_utf_8(client: Client) -> None:
    """They are somebody's name like any other: nothing is found by it."""
    host, port = client.server.host, client.server.port
    assert port
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(
        b"GET /ai-sdk/chat/x/stream HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
        b"Authorization: \xff\r\n\r\n"
    )
    assert (await reader.readline()).startswith(b"HTTP/1.1 204 ")
    writer.close()
    await writer.wait_closed()
