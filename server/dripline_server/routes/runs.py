"""`/runs/{id}`: what state a run is in, attaching to it, stopping it."""

from __future__ import annotations

from aiohttp import web

from dripline.errors import ErrorCode
from dripline_server.json_response import json_response
from dripline_server.problems import Problem
from dripline_server.routes.run_answer import stream_run
from dripline_server.run_log import FoundRun, PositionGone, PositionUnknown
from dripline_server.state import STATE

routes = web.RouteTableDef()


@routes.get("/runs/{run_id}")
async def show(request: web.Request) -> web.Response:
    """Say what state the run is in, and which events can be had."""
    run = await _find(request)
    state = await run.log_state()
    return json_response(
        {
            "run_id": request.match_info["run_id"],
            "model": run.model,
            "status": "ended" if state.finished else "running",
            "first_event_id": str(state.first),
            "last_event_id": str(state.last),
        }
    )


@routes.get("/runs/{run_id}/events", allow_head=False)
async def events(request: web.Request) -> web.StreamResponse:
    """Attach a reader: all after the last event ID that it names, then what comes.

    204 says that there is nothing after it, and never will be; an `EventSource` stops then.
    """
    run = await _find(request)
    after = _position(request)
    state = await run.log_state()
    if state.finished and after == state.last:
        return web.Response(status=204)
    try:
        return await stream_run(request, run, after=after)
    except PositionGone as gone:
        raise Problem(
            410,
            ErrorCode.POSITION_GONE,
            f"The events up to {gone.first - 1} have been dropped; the first one there is"
            f" {gone.first}.",
            {"X-First-Event-Id": str(gone.first)},
        ) from gone
    except PositionUnknown as unknown:
        raise Problem(
            400,
            ErrorCode.BAD_FIELD,
            f"Last-Event-ID: this run has not come to {after}; its last event is {unknown.last}.",
        ) from unknown


@routes.delete("/runs/{run_id}")
async def stop(request: web.Request) -> web.Response:
    """Stop the run: 202 if it was going on, 204 if it had ended."""
    run = await _find(request)
    state = await run.log_state()
    if state.finished:
        return web.Response(status=204)
    await run.request_stop()
    return json_response({"run_id": request.match_info["run_id"], "status": "stopping"}, status=202)


async def _find(request: web.Request) -> FoundRun:
    run = await request.app[STATE].runs.find(request.match_info["run_id"])
    if run is None:
        raise Problem(
            404, ErrorCode.NOT_FOUND, "No such run: it never was, or it ended a while ago."
        )
    return run


def _position(request: web.Request) -> int:
    """Return the `seq` after which to start: the header's goes before `?after=`."""
    text = request.headers.get("Last-Event-ID") or request.query.get("after") or "0"
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise Problem(
            400, ErrorCode.BAD_FIELD, f"Last-Event-ID: should be a whole number, is {text[:40]!r}"
        )
    return int(text)
