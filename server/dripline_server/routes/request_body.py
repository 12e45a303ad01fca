"""A request's body as JSON, and what is wrong with it."""

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

# What goes around a request's values when they are passed on.
LEVELS_AROUND = 3


async def read_json(request: web.Request, model: type[M]) -> M:
    """Read the body, and check it.

    Raises:
        Problem: What `parse_json` raises; or it is not declared as JSON (415), too large (413), did
            not come in time (408), or is not encoded as it says (400 `bad_json`).
    """
    if request.content_type != "application/json":
        raise Problem(
            415,
            ErrorCode.UNSUPPORTED_MEDIA_TYPE,
            "Send the body with the header Content-Type: application/json.",
        )
    settings = request.app[STATE].settings
    limit = settings.body_time
    # Where this app is a part of another one, that one's limit would hold.
    bounded = request.clone(client_max_size=settings.max_body)
    try:
        async with asyncio.timeout(limit or None):
            body = await bounded.read()
    except TimeoutError as error:
        raise Problem(
            408,
            ErrorCode.BODY_TOO_SLOW,
            f"The body did not come within {limit:g} s (--body-time).",
            {"Connection": "close"},
        ) from error
    except web.RequestPayloadError as error:
        request.content.feed_eof()  # or aiohttp reads on, and logs this as a fault of the server's
        message = "The body cannot be read: it is not encoded as its headers say."
        raise Problem(400, ErrorCode.BAD_JSON, message, {"Connection": "close"}) from error
    request[BODY] = body
    return parse_json(body, model)


def parse_json(body: bytes, model: type[M]) -> M:
    """Check a body.

    Raises:
        Problem: It is no JSON (400 `bad_json`), has too many values (413), or a field is wrong
            (400 `bad_field`, named in the message).
    """
    if has_too_many_values(body):
        raise Problem(
            413,
            ErrorCode.BODY_TOO_LARGE,
            f"The body has more than {MAX_VALUES:,} values (commas and brackets are counted).",
        )
    try:
        # Not pydantic's own reader: it takes NaN, which is no JSON.
        value = load_json(body)
        if too_deep(body, value, LEVELS_AROUND):
            raise Problem(400, ErrorCode.BAD_JSON, "The body is nested too deep.")
        return model.model_validate(value)
    except orjson.JSONDecodeError as error:
        raise Problem(400, ErrorCode.BAD_JSON, f"The body is not JSON: {error}") from error
    except ValidationError as error:
        raise invalid(error) from error


def invalid(error: ValidationError, within: str = "") -> Problem:
    """Say the first thing that is wrong: what follows is often its consequence."""
    first = error.errors(include_url=False, include_input=False)[0]
    field = ".".join(filter(None, [within, *map(str, first["loc"])])) or "body"
    return bad_field(field, first["msg"])


def text_field(record: dict[str, Any], name: str, where: str) -> str:
    """Return a string of an object that no model of pydantic's describes.

    Raises:
        Problem: It is absent, or no string (400 `bad_field`, named in the message).
    """
    try:
        return json_field(record, name, str, where=where)
    except BadField as error:
        raise bad_field(error.field, error.problem) from error


def bad_field(field: str, why: str) -> Problem:
    """Return what to raise where a field has a value that cannot be."""
    return Problem(400, ErrorCode.BAD_FIELD, f"{field}: {why}")
