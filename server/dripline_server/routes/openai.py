"""`/v1/chat/completions` and `/v1/models`: runs and models in OpenAI's API.

Programs that use this API need no change: `base_url="http://127.0.0.1:8000/v1"`. The tools of the
server and of the page are not offered to them, because they expect to run every tool themselves.
"""

from __future__ import annotations

import time
from typing import Any

from aiohttp import web

from dripline.errors import ErrorCode
from dripline.events import Custom, End, Error, Start, State, Status, from_json
from dripline_server.agents.hosting import FAMILY
from dripline_server.dialects import Position
from dripline_server.dialects.openai import (
    STOPPED,
    OpenAiRun,
    OpenAiTranslator,
    WholeCompletion,
)
from dripline_server.dialects.translated import TranslatedDialect
from dripline_server.problems import Problem, json_response
from dripline_server.routes.dialect_query import openai_address
from dripline_server.routes.info import list_models
from dripline_server.routes.openai_input import CompletionRequest, chat_request
from dripline_server.routes.request_body import read_json
from dripline_server.routes.run_answer import STATUS_OF, read_whole, start_run, stream_run
from dripline_server.run_log import Batch
from dripline_server.state import STATE
from dripline_server.upstream.ollama import Model

# nginx's and Ollama's status for a cancelled request. OpenAI's clients do not retry it.
GIVEN_UP = 499

routes = web.RouteTableDef()


@routes.post("/v1/chat/completions")
async def chat_completions(request: web.Request) -> web.StreamResponse:
    """Start a run, and answer with its chunks or with its whole completion.

    As with Ollama and OpenAI, the response begins with the model's first word. So a missing model
    gives status 404 instead of a broken stream.
    """
    asked = await read_json(request, CompletionRequest)
    chat = chat_request(asked, request.headers.get("X-On-Disconnect", "stop"))
    state = request.app[STATE]
    run = await start_run(request, chat, tools=())
    about = OpenAiRun(asked.model or state.default_model, int(time.time()), asked.include_usage)
    if asked.stream:
        dialect = TranslatedDialect(OpenAiTranslator(about, run.id), Position(0))
        where = {"Content-Location": openai_address(run.id, about)}
        return await stream_run(request, run, dialect, where, begun=_has_begun)
    whole = WholeCompletion(about, run.id)
    await read_whole(run, whole.add, max_bytes=state.settings.log_bytes)
    if whole.error:
        raise _problem(whole.error)
    return json_response(whole.as_json(), headers={"X-Run-Id": run.id})


@routes.get("/v1/models")
async def models(request: web.Request) -> web.Response:
    """List the agents and the models."""
    found = await list_models(request)
    return json_response({"object": "list", "data": [_model_object(model) for model in found]})


@routes.get("/v1/models/{model:.+}")
async def model(request: web.Request) -> web.Response:
    """Describe one model."""
    name = request.match_info["model"]
    wanted = {name, f"{name}:latest"}
    for found in await list_models(request):
        if found.name in wanted:
            return json_response({**_model_object(found), "id": name})
    raise Problem(404, ErrorCode.MODEL_NOT_FOUND, f"model {name[:100]!r} not found")


def _model_object(model: Model) -> dict[str, Any]:
    owner = "library" if model.family != FAMILY else "dripline"
    about = {"description": model.description} if model.description else {}
    return {
        "id": model.name,
        "object": "model",
        "created": model.created,
        "owned_by": owner,
        **about,
    }


def _has_begun(batch: Batch) -> bool:
    """Whether the model has produced output.

    Raises:
        Problem: The run failed, or was stopped, before that.
    """
    for payload in batch.payloads:
        match from_json(payload):
            case Error() as error:
                raise _problem(error)
            case End(status="cancelled"):
                raise _problem(STOPPED)
            case None | Start() | Status() | State() | Custom():
                continue
            case _:
                return True
    return False


def _problem(error: Error) -> Problem:
    """Return a run's failure with the status that OpenAI's clients expect."""
    if error is STOPPED:
        return Problem(GIVEN_UP, ErrorCode.RUN_CANCELLED, error.message)
    message = error.message
    if error.code == ErrorCode.MODEL_NOT_FOUND:
        message = f"model not found: {message}"  # the words that clients of Ollama look for
    return Problem(STATUS_OF.get(error.code, 502), error.code, message)
