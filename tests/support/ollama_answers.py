"""Answers of a real Ollama, and what of them may differ in another's: text, ids, times, digests."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from aiohttp import ClientSession

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]

# What a model says, and what is a model's own, a moment's or a machine's.
MAY_DIFFER = frozenset(
    (
        *("content", "response", "thinking", "reasoning", "text", "delta", "arguments"),
        *("partial_json", "token", "logprob", "bytes", "context", "embedding", "embeddings"),
        *("created_at", "completed_at", "modified_at", "created", "expires_at"),
        *("id", "call_id", "item_id", "request_id", "digest", "size", "size_vram", "version"),
        *("total_duration", "load_duration", "prompt_eval_duration", "eval_duration"),
        *("prompt_eval_count", "eval_count", "prompt_tokens", "completion_tokens"),
        *("total_tokens", "input_tokens", "output_tokens"),
        *("modelfile", "template", "model_info", "tensors"),
    )
)


@dataclass(frozen=True)
class RealAnswer:
    """A request, and what a real Ollama answered."""

    name: str
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes | None
    status: int
    answer_headers: list[tuple[str, str]]
    answer: str


def load(path: Path) -> list[RealAnswer]:
    """Return the answers of a file, in the order in which they were given."""
    return [_read(json.loads(line)) for line in path.read_text().splitlines()]


def _read(entry: dict[str, dict[str, Json]]) -> RealAnswer:
    request, answer = entry["request"], entry["answer"]
    body = request.get("body")
    if "json" in request:
        body = json.dumps(request["json"])
    headers = request["headers"]
    assert isinstance(headers, dict)
    given = answer["headers"]
    return RealAnswer(
        name=str(entry["name"]),
        method=str(request["method"]),
        path=str(request["path"]),
        headers={name: str(value) for name, value in headers.items()},
        body=None if body is None else str(body).encode(),
        status=int(str(answer["status"])),
        answer_headers=[(str(pair[0]), str(pair[1])) for pair in cast("list[list[str]]", given)],
        answer=str(answer["body"]),
    )


async def ask(
    http: ClientSession, url: str, real: RealAnswer
) -> tuple[int, list[tuple[str, str]], str]:
    """Send the request elsewhere, and return status, headers and body of the answer."""
    skipped = {"User-Agent", "Accept", "Accept-Encoding"}
    headers = {"Content-Type": "application/json"} if real.body is not None else {}
    async with http.request(
        real.method,
        url + real.path,
        data=real.body,
        headers={**headers, **real.headers},
        skip_auto_headers=skipped,
        allow_redirects=False,
    ) as response:
        found = [(name, value) for name, value in response.headers.items() if name != "Date"]
        return response.status, found, await response.text()


def shape(answer: str) -> list[object]:
    """Return what may not differ: each different kind of line, event or object, in order."""
    if answer.startswith(("data: ", "event: ")):
        return list(_in_kinds(_event(block) for block in answer.split("\n\n") if block))
    lines = answer.split("\n")
    if answer.startswith(("{", "[")) and answer.endswith("\n") and len(lines) > 2:
        return list(_in_kinds(_shape(json.loads(line)) for line in lines if line))
    try:
        return [_shape(json.loads(answer)), answer.endswith("\n")]
    except ValueError:
        return [answer]


def _event(block: str) -> object:
    *names, data = block.split("\n")
    value = data.removeprefix("data: ")
    return [*names, value if value == "[DONE]" else _shape(json.loads(value))]


def _in_kinds(shapes: Iterable[object]) -> Iterable[object]:
    """Give the shapes without those that repeat: how many tokens there are may differ."""
    seen: list[object] = []
    for one in shapes:
        if one not in seen:
            seen.append(one)
            yield one


def _shape(value: Json, name: str = "") -> object:
    if name in MAY_DIFFER and not (isinstance(value, list) and name == "content"):
        return type(value).__name__ if not isinstance(value, float) else "int"
    if isinstance(value, dict):
        fields = ((key, _shape(inner, key)) for key, inner in value.items())
        return [field for field in fields if field[0] != "sequence_number"]
    if isinstance(value, list):
        return list(_in_kinds(_shape(inner) for inner in value))
    return value


def head(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return headers without the number of bytes that a text has."""
    return [(name, "" if name == "Content-Length" else value) for name, value in headers]
