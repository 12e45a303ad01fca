"""Ollama's models: get one, as a run; delete, unload and describe one.

`GET /models`, which lists them, is in `info.py`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from dripline_server.callers import CALLER
from dripline_server.dialects.native import NativeDialect
from dripline_server.problems import Problem, json_response
from dripline_server.routes.chat_request import GRACE, MAX_MODEL, RUN_ID
from dripline_server.routes.request_body import read_json
from dripline_server.routes.run_answer import (
    STATUS_OF,
    answer_whole,
    begin_run,
    check_model_changes,
    model_not_allowed,
    stream_run,
)
from dripline_server.runs.pulling import Pulling
from dripline_server.runs.run_request import RunRequest
from dripline_server.state import STATE
from dripline_server.upstream.failures import UpstreamError

routes = web.RouteTableDef()


class ModelRequest(BaseModel):
    """The body of a request about one model."""

    model_config = ConfigDict(extra="forbid", strict=True)

    model: str = Field(min_length=1, max_length=MAX_MODEL)


class PullRequest(ModelRequest):
    """The body of `POST /models/pull`. By default the pull goes on without readers."""

    stream: bool = True
    on_disconnect: Literal["stop", "continue"] | None = None
    run_id: str | None = Field(None, pattern=RUN_ID)


@routes.post("/models/pull")
async def pull(request: web.Request) -> web.StreamResponse:
    """Start a run that gets a model, and stream its progress.

    Stopping the run pauses the pull: Ollama keeps what has arrived, and the next pull of the model
    goes on from there.
    """
    asked = await read_json(request, PullRequest)
    check_model_changes(request)
    upstream = request.app[STATE].upstream
    wanted = RunRequest(
        asked.model,
        b"",
        grace=GRACE.get(asked.on_disconnect, math.inf),
        digest=f"pull {asked.model}",
        caller=request[CALLER],
        answering=lambda _id, log, _on_answer, _record: Pulling(upstream, log),
    )
    run = await begin_run(request, wanted, asked.run_id)
    if asked.stream:
        return await stream_run(request, run, NativeDialect())
    return await answer_whole(run, max_bytes=request.app[STATE].settings.log_bytes)


@routes.post("/models/delete")
async def delete(request: web.Request) -> web.Response:
    """Delete a model from Ollama's disk."""
    asked = await read_json(request, ModelRequest)
    check_model_changes(request)
    with _upstream_problems():
        await request.app[STATE].upstream.delete(asked.model)
    return json_response({"deleted": asked.model})


@routes.post("/models/unload")
async def unload(request: web.Request) -> web.Response:
    """Free the memory that a model takes; answers that it is giving are finished first."""
    asked = await read_json(request, ModelRequest)
    _check_model(request, asked.model)
    with _upstream_problems():
        await request.app[STATE].upstream.unload(asked.model)
    return json_response({"unloaded": asked.model})


@routes.post("/models/show")
async def show(request: web.Request) -> web.Response:
    """Describe a model."""
    asked = await read_json(request, ModelRequest)
    _check_model(request, asked.model)
    with _upstream_problems():
        details = await request.app[STATE].upstream.details(asked.model)
    return json_response(details)


def _check_model(request: web.Request, model: str) -> None:
    if not request[CALLER].may_use(model):
        raise model_not_allowed(request[CALLER], model)


@contextmanager
def _upstream_problems() -> Iterator[None]:
    """Answer with Ollama's failure."""
    try:
        yield
    except UpstreamError as error:
        raise Problem(STATUS_OF.get(error.code, 502), error.code, error.message) from error
