"""A request's body as JSON, and what is wrong with it."""

from __future__ import annotations

from typing import TypeVar

import orjson
from aiohttp import web
from pydantic import BaseModel, ValidationError

from dripline.errors import ErrorCode
from dripline_server.problems import Problem

M = TypeVar("M", bound=BaseModel)


async def read_json(request: web.Request, model: type[M]) -> M:
    """Read the body, and check it.

    Raises:
        Problem: It is no JSON (400 `bad_json`), not declared as such (415), too large (413), or a
            field is wrong (400 `bad_field`, named in the message).
    """
    if request.content_type != "application/json":
        raise Problem(
            415,
            ErrorCode.UNSUPPORTED_MEDIA_TYPE,
            "Send the body with the header Content-Type: application/json.",
        )
    try:
        # Not pydantic's own reader: it takes NaN, which is no JSON.
        return model.model_validate(orjson.loads(await request.read()))
    except orjson.JSONDecodeError as error:
        raise Problem(400, ErrorCode.BAD_JSON, f"The body is not JSON: {error}") from error
    except ValidationError as error:
        raise invalid(error) from error


def invalid(error: ValidationError, within: str = "") -> Problem:
    """Say the first thing that is wrong: what follows is often its consequence."""
    first = error.errors(include_url=False, include_input=False)[0]
    field = ".".join(filter(None, [within, *map(str, first["loc"])])) or "body"
    return bad_field(field, first["msg"])


def bad_field(field: str, why: str) -> Problem:
    """Return what to raise where a field has a value that cannot be."""
    return Problem(400, ErrorCode.BAD_FIELD, f"{field}: {why}")
