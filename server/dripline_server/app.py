"""The web application: wiring and lifetime, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web

from dripline.tool import BadTool, Tool, ToolFunction, as_tools
from dripline.tool_runner import ToolRunner
from dripline_server.access import add_access
from dripline_server.event_stream import Pulse
from dripline_server.listening import listening
from dripline_server.metrics import Metrics
from dripline_server.problems import answer_problems
from dripline_server.routes import agui, chat, info, openai, runs, ui_message
from dripline_server.routes.page import add_page
from dripline_server.run_log import RunLogs
from dripline_server.run_log.memory import Budget, MemoryRunLogs
from dripline_server.runs.records import RunRecords
from dripline_server.runs.registry import RunRegistry
from dripline_server.settings import BadSetting, Settings
from dripline_server.state import STATE, State
from dripline_server.tools.server_tools import load_tools
from dripline_server.tools.ui_control import phrases
from dripline_server.tools.ui_tools import page_tools
from dripline_server.upstream.address import OllamaAddress
from dripline_server.upstream.ollama import Ollama
from dripline_server.upstream.upstreams import Upstreams, answers

# Seconds that readers have for the last events once every run has ended.
CLOSE_TIME = 5.0


def create_app(settings: Settings, tools: Iterable[ToolFunction | Tool] = ()) -> web.Application:
    """Return the application. It creates its parts at start-up and closes them at clean-up.

    If the settings name no address of Ollama and none answers at the usual one, the built-in fake
    answers until Ollama does.

    Args:
        settings: The options.
        tools: Functions that models may call, besides those of `settings.tools`; see
            `dripline.tool`.

    Raises:
        BadTool: A function cannot be a tool.
        BadSetting: A module of `settings.tools` cannot be imported, or has no usable tools.
    """
    callable_tools = as_tools([*_tools_of(settings), *tools])
    # Both are slow to build: not on import, and not while the first chat waits.
    phrases()
    page_tools()
    app = web.Application(middlewares=[answer_problems], client_max_size=settings.max_body)
    app.add_routes(info.routes)
    app.add_routes(chat.routes)
    app.add_routes(runs.routes)
    app.add_routes(agui.routes)
    app.add_routes(ui_message.routes)
    app.add_routes(openai.routes)
    add_page(app)
    add_access(app, settings)

    async def live(app: web.Application) -> AsyncIterator[None]:
        async with _state(settings, callable_tools) as state:
            app[STATE] = state
            yield

    async def end_runs(app: web.Application) -> None:
        # Before aiohttp closes the connections, so that every reader gets its `end`.
        await app[STATE].runs.close()

    app.cleanup_ctx.append(live)
    app.on_shutdown.append(end_runs)
    return app


def _tools_of(settings: Settings) -> list[Tool]:
    try:
        return load_tools(settings.tools)
    except BadTool as error:
        raise BadSetting(f"--tools: {error}") from error


@asynccontextmanager
async def _state(settings: Settings, tools: Sequence[Tool]) -> AsyncIterator[State]:
    async with _upstreams(settings) as upstreams:
        budget = Budget(settings.total_log_bytes)
        figures = Metrics()
        records = RunRecords(settings.record)
        logs = _run_logs(settings, budget)  # last step that can fail: it opens connections
        runner = ToolRunner(
            timeout=settings.tool_timeout,
            max_result=settings.max_tool_result,
            on_call=figures.tool_called,
        )
        registry = RunRegistry(settings, upstreams, runner, logs, budget, figures, records)
        pulse = Pulse(heartbeat=settings.heartbeat, reader_timeout=settings.reader_timeout)
        try:
            yield State(
                settings=settings,
                upstreams=upstreams,
                tools=tools,
                runs=registry,
                logs=logs,
                pulse=pulse,
                metrics=figures,
                records=records,
            )
        finally:
            await pulse.close()
            await runner.close()
            await logs.close()
            records.close()


def _run_logs(settings: Settings, budget: Budget) -> RunLogs:
    if settings.run_log == "memory":
        return MemoryRunLogs(settings.log_bytes, budget)
    try:
        from dripline_server.run_log.redis import RedisRunLogs
    except ModuleNotFoundError as error:
        raise BadSetting("--run-log: for Redis, pip install 'dripline[redis]'") from error
    try:
        return RedisRunLogs(
            settings.run_log,
            settings.log_bytes,
            budget,
            keep_time=settings.keep_time,
            lease_time=settings.lease_time,
        )
    except ValueError as error:
        raise BadSetting(f"--run-log: {error}") from error


@asynccontextmanager
async def _upstreams(settings: Settings) -> AsyncIterator[Upstreams]:
    """Yield the named Ollama; if none is named and none answers, the fake until one does."""
    address = OllamaAddress(settings.ollama_url, settings.ollama_headers, settings.ollama_api_key)
    async with _connected(address, settings) as ollama:
        if settings.names_ollama or await answers(ollama):
            yield Upstreams(ollama)
            return
        from dripline.testing import FakeOllama  # only here: most servers need none

        async with (
            FakeOllama(max_requests=10) as fake,
            _connected(OllamaAddress(fake.url), settings) as stand_in,
        ):
            upstreams = Upstreams(ollama, stand_in)
            watching = asyncio.create_task(upstreams.watch(), name="watch for Ollama")
            try:
                yield upstreams
            finally:
                watching.cancel()
                await asyncio.wait({watching})


@asynccontextmanager
async def _connected(address: OllamaAddress, settings: Settings) -> AsyncIterator[Ollama]:
    upstream = Ollama(
        address, stall_timeout=settings.stall_timeout, max_line=settings.max_upstream_line
    )
    try:
        yield upstream
    finally:
        await upstream.close()


@dataclass(frozen=True, slots=True)
class Server:
    """A server that listens.

    Attributes:
        url: Its address.
        state: Its parts.
    """

    url: str
    state: State


@asynccontextmanager
async def serve(
    settings: Settings, tools: Iterable[ToolFunction | Tool] = ()
) -> AsyncIterator[Server]:
    """Listen as `settings` say until the context is left; then end every run.

    Raises:
        OSError: The server cannot listen on the address.
        BadTool, BadSetting: See `create_app`.
    """
    app = create_app(settings, tools)
    async with listening(app, settings, close_time=CLOSE_TIME) as url:
        yield Server(url, app[STATE])
