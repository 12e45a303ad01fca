"""`GET /metrics`: the server's figures for Prometheus."""

from __future__ import annotations

from aiohttp import web

from dripline_server.metrics import CONTENT_TYPE
from dripline_server.state import STATE

routes = web.RouteTableDef()


@routes.get("/metrics")
async def metrics(request: web.Request) -> web.Response:
    """Answer with every figure, in Prometheus's text format."""
    return web.Response(
        body=request.app[STATE].metrics.text(), headers={"Content-Type": CONTENT_TYPE}
    )
