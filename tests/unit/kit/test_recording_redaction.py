"""Secrets never reach a recording's file."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from dripline.http.redaction import Redaction
from dripline.recordings.recording import (
    Exchange,
    ExchangeEnding,
    Recording,
    Request,
    Response,
)
from dripline.recordings.writer import RecordingWriter

SECRET = "hunter2"

SECRETS: dict[str, Request] = {
    "Authorization": Request(headers=(("Authorization", f"Bearer {SECRET}"),)),
    "any case": Request(headers=(("aUTHORIZATION", SECRET),)),
    "proxy": Request(headers=(("Proxy-Authorization", SECRET),)),
    "Cookie": Request(headers=(("Cookie", f"id={SECRET}"),)),
    "X-Api-Key": Request(headers=(("X-Api-Key", SECRET),)),
    "api-key": Request(headers=(("api-key", SECRET),)),
    "x-goog-api-key": Request(headers=(("x-goog-api-key", SECRET),)),
    "X-Auth-Token": Request(headers=(("X-Auth-Token", SECRET),)),
    "a URL in a header": Request(headers=(("Referer", f"http://a/?token={SECRET}"),)),
    "query": Request(url=f"https://a/v1?alt=sse&key={SECRET}&x=1"),
    "query at the end": Request(url=f"https://a/v1?access_token={SECRET}#top"),
    "an escaped name": Request(url=f"https://a/v1?api%5Fkey={SECRET}"),
    "user and password": Request(url=f"https://me:{SECRET}@a/v1"),
    "JSON": Request(body=orjson.dumps({"model": "m", "api_key": SECRET})),
    "nested JSON": Request(body=orjson.dumps({"a": [{"clientSecret": SECRET}]})),
    "a form": Request(body=f"grant=x&password={SECRET}&y=z".encode()),
    "a name of one's own": Request(headers=(("X-Tenant", SECRET),)),
}


@pytest.mark.parametrize("request_", SECRETS.values(), ids=SECRETS)
@pytest.mark.parametrize("how", ["saved", "written"])
def test_a_secret_does_not_reach_the_file(tmp_path: Path, request_: Request, how: str) -> None:
    """Whether it is saved whole or written as it happens; all else stays."""
    path, redaction = tmp_path / "x.jsonl", Redaction(also=["x-tenant"])
    if how == "saved":
        recording = Recording((Exchange(request_),))
        recording.save(path, redaction=redaction)
        assert Recording.load(path) == recording.redacted(redaction)
    else:
        with RecordingWriter(path, redaction=redaction) as writer:
            writer.begin(request_).end(ExchangeEnding.EOF)
    text = path.read_text()
    assert SECRET not in text
    assert "REDACTED" in text
    found = Recording.load(path).request
    assert [name for name, _ in found.headers] == [name for name, _ in request_.headers]
    assert found.url.replace("REDACTED", SECRET) in (request_.url, f"https://{SECRET}@a/v1")


def test_response_headers_are_redacted_too(tmp_path: Path) -> None:
    """`Set-Cookie`, and tokens in a redirection."""
    headers = (("Set-Cookie", f"id={SECRET}"), ("Location", f"/x?sig={SECRET}&a=b"))
    Recording((Exchange(response=Response(302, headers)),)).save(tmp_path / "x.jsonl")
    response = Recording.load(tmp_path / "x.jsonl").response
    assert response
    assert response.headers == (("Set-Cookie", "REDACTED"), ("Location", "/x?sig=REDACTED&a=b"))


def test_what_is_no_secret_stays() -> None:
    """Byte for byte, with all its blanks; and a name can be taken off the list."""
    body = b'{"model": "m",  "options": {"max_tokens": 3, "monkey": "see", "stop": ["key=a"]}}'
    request = Request(
        url="http://a/runs/7/events?after=3&tokens=1",
        headers=(("Accept", "*/*"), ("Last-Event-ID", "7"), ("X-Author", "me")),
        body=body,
    )
    recording = Recording((Exchange(request),))
    assert recording.redacted(Redaction()) == recording
    assert Redaction().body(b"\xff\x00 key=1") == b"\xff\x00 key=1"
    assert Redaction(never=["Idempotency-Key"]).is_secret("idempotency-key") is False
    assert Redaction().is_secret("idempotency-key")
