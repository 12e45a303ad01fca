"""`/runs`: the runs there are, the state of one, attaching to it, and stopping it."""

from __future__ import annotations

from datetime import UTC, datetime

from aiohttp import web

from dripline.errors import ErrorCode
from dripline_server.callers import CALLER
from dripline_server.dialects import Position
from dripline_server.problems import Problem, json_response
from dripline_server.routes.dialect_query import dialect_of
from dripline_server.routes.request_body import bad_field
from dripline_server.routes.run_answer import position_unknown, stream_run
from dripline_server.run_log import FoundRun
from dripline_server.settings import is_loopback
from dripline_server.state import STATE

routes = web.RouteTableDef()


# A proxy adds one of these, so that a request that has one may come from another machine.
_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Real-IP", "Via")


@routes.get("/runs", allow_head=False)
async def list_runs(request: web.Request) -> web.Response:
    """List the caller's runs of this process, the newest first, whichever program started them.

    Whoever knows a run's id may read and stop it. So ids are only told to those who have a token,
    each caller's own; on a server without one, only to programs of the same machine.
    """
    state = request.app[STATE]
    if not (state.tokens.needed or _is_local(request)):
        why = (
            "Without a token (DRIPLINE_TOKEN), this server lists its runs only for programs on its"
            " own machine."
        )
        raise Problem(403, ErrorCode.UNAUTHORIZED, why)
    return json_response(
        {
            "runs": [
                {
                    "run_id": run.id,
                    "model": run.model,
                    "status": run.status,
                    "began": datetime.fromtimestamp(run.began, UTC).isoformat(timespec="seconds"),
                    "readers": run.readers,
                }
                for run in state.runs.here(request[CALLER].name)
            ]
        }
    )


def _is_local(request: web.Request) -> bool:
    if any(name in request.headers for name in _FORWARDED):
        return False
    peer = request.transport.get_extra_info("peername") if request.transport else None
    # Who is behind a Unix socket is not known; it is usually a proxy.
    return isinstance(peer, tuple) and is_loopback(str(peer[0]))


@routes.get("/runs/{run_id}")
async def show(request: web.Request) -> web.Response:
    """Report the run's state, and which of its events can be read."""
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
    """Attach a reader: send the events after its last event ID, then each new one.

    204 says that there is nothing after it, and never will be; an `EventSource` stops then.
    """
    run = await _find(request)
    after = _position(request)
    dialect = dialect_of(request.query, run.id, after)
    state = await run.log_state(after.seq)
    if after.seq > state.last:
        raise position_unknown(after, state.last)
    if state.finished and after == Position(state.last):
        return web.Response(status=204)
    return await stream_run(request, run, dialect)


@routes.delete("/runs/{run_id}")
async def stop(request: web.Request) -> web.Response:
    """Stop the run: 202 if it was active, 204 if it had ended."""
    return await stop_run(await _find(request))


async def stop_run(run: FoundRun) -> web.Response:
    """Stop a run, and answer: 202 if it was active, 204 if it had ended."""
    state = await run.log_state()
    if state.finished:
        return web.Response(status=204)
    await run.request_stop()
    return json_response({"run_id": run.id, "status": "stopping"}, status=202)


async def _find(request: web.Request) -> FoundRun:
    runs, run_id = request.app[STATE].runs, request.match_info["run_id"]
    run = await runs.find(run_id, request[CALLER].name)
    if run is None:
        message = "No such run: it never existed, it ended a while ago, or it is not yours."
        raise Problem(404, ErrorCode.NOT_FOUND, message)
    return run


def _position(request: web.Request) -> Position:
    """Return the reader's position; the header takes precedence over `?after=`."""
    text = request.headers.get("Last-Event-ID") or request.query.get("after") or "0"
    if (position := Position.parse(text)) is None:
        raise bad_field("Last-Event-ID", f"should be an id of this stream's, is {text[:40]!r}")
    return position
