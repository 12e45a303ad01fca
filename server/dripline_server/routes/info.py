"""`GET /health`, `/livez`, `/readyz`, `/models`, `/metrics`, and `GET /` for programs."""

from __future__ import annotations

import asyncio
from importlib.metadata import version

from aiohttp import web

from dripline_server.callers import CALLER
from dripline_server.metrics import CONTENT_TYPE
from dripline_server.problems import Problem, json_response
from dripline_server.routes.run_answer import STATUS_OF
from dripline_server.run_log import RunLogUnavailable
from dripline_server.state import STATE, AppState
from dripline_server.upstream.failures import UpstreamError
from dripline_server.upstream.ollama import Model
from dripline_server.upstream.upstreams import ANSWER_TIMEOUT

routes = web.RouteTableDef()


def describe_service(request: web.Request) -> web.Response:
    """Describe the server. `demo` says why the fake stands in for Ollama, if it does.

    Whoever may not use the default model is not told its name.
    """
    state, caller = request.app[STATE], request.get(CALLER)
    return json_response(
        {
            "service": "dripline",
            "status": "running",
            "version": version("dripline"),
            "model": state.default_model_of(caller) if caller else "",
            "demo": state.demo,
            "max_body": state.settings.max_body,
            "model_changes": state.settings.lets_models_change,
        }
    )


@routes.get("/health")
async def health(request: web.Request) -> web.Response:
    """Report whether Ollama and the run log answer: 200 if they do, 503 if not.

    The status is "demo" while the built-in fake stands in for Ollama. Load balancers need no token,
    but without one the answer contains nothing else.
    """
    return await _health(request, "demo" if request.app[STATE].demo else "healthy", "degraded")


@routes.get("/livez")
async def livez(_: web.Request) -> web.Response:
    """Report that the process is alive, whatever Ollama does, so that it is not restarted."""
    return json_response({"status": "alive"})


@routes.get("/readyz")
async def readyz(request: web.Request) -> web.Response:
    """Report whether to send chats here: not during a shutdown, or without Ollama or run log."""
    if request.app[STATE].runs.draining:
        return json_response({"status": "shutting down"}, status=503)
    return await _health(request, "ready", "not ready")


async def _health(request: web.Request, good: str, bad: str) -> web.Response:
    state = request.app[STATE]
    parts = await asyncio.gather(
        _ollama_health(state), _openai_health(state), _run_log_health(state)
    )
    trouble = " ".join(filter(None, (part.pop("message", "") for part in parts)))
    status = {"status": bad, "message": trouble} if trouble else {"status": good}
    ollama, openai, run_log = parts
    body = {**status, **ollama, **openai, **run_log, "demo": state.demo}
    if CALLER not in request:
        body = {"status": status["status"]}
    return json_response(body, status=503 if trouble else 200)


async def _ollama_health(state: AppState) -> dict[str, str]:
    if not state.offers_models:
        return {"ollama": "not used"}
    if state.demo:
        return {"ollama": "disconnected"}
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT):
            return {"ollama": "connected", "ollama_version": await state.upstream.version()}
    except (UpstreamError, TimeoutError) as error:
        if state.agents.servers and not state.settings.names_ollama:
            return {"ollama": "not used"}
        message = str(error) or f"Ollama did not answer within {ANSWER_TIMEOUT:g} s."
        return {"ollama": "disconnected", "message": message}


async def _openai_health(state: AppState) -> dict[str, str]:
    """Return whether the OpenAI-compatible servers answer; nothing if there are none."""
    if not state.agents.servers:
        return {}
    await state.agents.list_servers()
    troubles = [server.failure.message for server in state.agents.servers if server.failure]
    if troubles:
        return {"openai": "disconnected", "message": " ".join(troubles)}
    return {"openai": "connected"}


async def _run_log_health(state: AppState) -> dict[str, str]:
    if state.settings.run_log == "memory":
        return {"run_log": "memory"}
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT):
            await state.logs.check()
    except RunLogUnavailable as error:
        if error.refused:
            return {"run_log": "refused", "message": f"{error.message} Redis says: {error}"}
        return {"run_log": "disconnected", "message": error.message}
    except TimeoutError:
        message = f"The run log, Redis, did not answer within {ANSWER_TIMEOUT:g} s."
        return {"run_log": "disconnected", "message": message}
    return {"run_log": "connected"}


@routes.get("/models")
async def models(request: web.Request) -> web.Response:
    """List models and agents, as far as the caller may use them."""
    default = request.app[STATE].default_model_of(request[CALLER])
    return json_response({"models": await list_models(request), "default": default})


async def list_models(request: web.Request) -> list[Model]:
    """Return what the caller may use: Ollama's models whose name no agent has, and agents.

    Raises:
        Problem: Ollama does not answer (502 to 504).
    """
    state, caller = request.app[STATE], request[CALLER]
    await state.agents.list_servers()
    others = (*state.agents.served_models(), *state.agents.models())
    agents = [agent for agent in others if caller.may_use(agent.name)]
    if not state.offers_models:
        return agents
    try:
        found = await state.upstream.models()
    except UpstreamError as error:
        if state.agents.servers and not state.settings.names_ollama:
            return agents
        # Whatever Ollama refuses here, such as a missing key, the client cannot fix.
        status = max(502, STATUS_OF.get(error.code, 502))
        raise Problem(status, error.code, error.message) from error
    taken = {agent.name for agent in others}
    shown = [
        model
        for model in found
        if caller.may_use(model.name)
        and taken.isdisjoint((model.name, model.name.removesuffix(":latest")))
    ]
    return [*shown, *agents]


@routes.get("/metrics")
async def metrics(request: web.Request) -> web.Response:
    """Answer with all metrics in Prometheus's text format."""
    return web.Response(
        body=request.app[STATE].metrics.text(), headers={"Content-Type": CONTENT_TYPE}
    )
