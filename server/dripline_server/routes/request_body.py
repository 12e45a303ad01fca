"""Reads and checks a request's JSON body."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

import orjson
from aiohttp import web
from pydantic import BaseModel, ValidationError

from dripline.errors import ErrorCode
from dripline.json_fields import BadField, json_field
from dripline.json_text import MAX_VALUES, has_too_many_values, load_json
from dripline.nesting import too_deep
from dripline_server.problems import Problem
from dripline_server.runs.records import BODY
from dripline_server.state import STATE

M = TypeVar("M", bound=BaseModel)

# How many levels of JSON surround a request's values when they are passed on.
LEVELS_AROUND = 3


async def read_json(request: web.Request, model: type[M]) -> M:
    """Read the body, and check it.

    Raises:
        Problem: As `parse_json`; or the body is not declared as JSON (415), is too large (413), did
            not arrive in time (408), or has another encoding than it declares (400 `bad_json`).
    """
    if request.content_type != "application/json":
        raise Problem(
            415,
            ErrorCode.UNSUPPORTED_MEDIA_TYPE,
            "Send the body with the header Content-Type: application/json.",
        )
    body = await read_body(request)
    request[BODY] = body
    return parse_json(body, model)


async def read_body(request: web.Request) -> bytes:
    """Read the body.

    Raises:
        Problem: It did not arrive in time (408), or has another encoding than it declares (400
            `bad_json`).
        web.HTTPRequestEntityTooLarge: It is too large.
    """
    settings = request.app[STATE].settings
    limit = settings.body_time
    # If this app is mounted in another one, the other app's limit would apply.
    bounded = request.clone(client_max_size=settings.max_body)
    try:
        async with asyncio.timeout(limit or None):
            return await bounded.read()
    except TimeoutError as error:
        raise body_too_slow(limit) from error
    except web.RequestPayloadError as error:
        raise unreadable_body(request) from error


def body_too_slow(limit: float) -> Problem:
    """Return the problem to raise if a body did not arrive within so many seconds."""
    message = f"The body did not arrive within {limit:g} s (--body-time)."
    return Problem(408, ErrorCode.BODY_TOO_SLOW, message, {"Connection": "close"})


def unreadable_body(request: web.Request) -> Problem:
    """Return the problem to raise if a body is not encoded as its headers say."""
    request.content.feed_eof()  # otherwise aiohttp reads on, and logs a fault of the server
    message = "The body cannot be read: it is not encoded as its headers say."
    return Problem(400, ErrorCode.BAD_JSON, message, {"Connection": "close"})


def parse_json(body: bytes, model: type[M]) -> M:
    """Parse and check a body.

    Raises:
        Problem: It is not JSON (400 `bad_json`), has too many values (413), or a field is wrong
            (400 `bad_field`, named in the message).
    """
    if has_too_many_values(body):
        raise Problem(
            413,
            ErrorCode.BODY_TOO_LARGE,
            f"The body has more than {MAX_VALUES:,} values (commas and brackets are counted).",
        )
    try:
        # Not pydantic's own parser: it accepts NaN, which is not JSON.
        value = load_json(body)
        if too_deep(body, value, LEVELS_AROUND):
            raise Problem(400, ErrorCode.BAD_JSON, "The body is nested too deep.")
        return model.model_validate(value)
    except orjson.JSONDecodeError as error:
        raise Problem(400, ErrorCode.BAD_JSON, f"The body is not JSON: {error}") from error
    except ValidationError as error:
        raise invalid(error) from error


def invalid(error: ValidationError, within: str = "") -> Problem:
    """Report only the first error, because the others are often its consequences."""
    first = error.errors(include_url=False, include_input=False)[0]
    field = ".".join(filter(None, [within, *map(str, first["loc"])])) or "body"
    return bad_field(field, first["msg"])


def text_field(record: dict[str, Any], name: str, where: str) -> str:
    """Return a string from an object that has no pydantic model.

    Raises:
        Problem: It is missing or not a string (400 `bad_field`, named in the message).
    """
    try:
        return json_field(record, name, str, where=where)
    except BadField as error:
        raise bad_field(error.field, error.problem) from error


def bad_field(field: str, why: str) -> Problem:
    """Return the problem to raise for an invalid field."""
    return Problem(400, ErrorCode.BAD_FIELD, f"{field}: {why}", field=field)
