"""The web application: wiring and lifetime, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web

from dripline.tool import BadTool, Tool, ToolFunction, as_tools
from dripline.tool_runner import ToolRunner
from dripline_server.access import add_access
from dripline_server.agents.agent import Agent, AgentFunction, BadAgent, as_agents, load_agents
from dripline_server.agents.hosting import AgentHost
from dripline_server.event_stream import Pulse
from dripline_server.known_tokens import KnownTokens
from dripline_server.listening import listening
from dripline_server.metrics import Metrics
from dripline_server.problems import answer_problems
from dripline_server.routes import (
    agui,
    chat,
    info,
    ollama_models,
    openai,
    relay,
    runs,
    ui_message,
)
from dripline_server.routes.page import add_page
from dripline_server.run_log import RunLogs
from dripline_server.run_log.memory import Budget, MemoryRunLogs
from dripline_server.runs.records import RunRecords
from dripline_server.runs.registry import RunRegistry
from dripline_server.settings import BadSetting, Settings
from dripline_server.state import STATE, AppState
from dripline_server.tools.server_tools import load_tools
from dripline_server.tools.ui_control import phrases
from dripline_server.tools.ui_tools import page_tools
from dripline_server.upstream.address import OllamaAddress
from dripline_server.upstream.failures import UpstreamError
from dripline_server.upstream.ollama import Ollama
from dripline_server.upstream.upstreams import ANSWER_TIMEOUT, Upstreams, answers

# Seconds that readers have for the last events once every run has ended.
CLOSE_TIME = 5.0
NO_AGENTS: Mapping[str, AgentFunction] = {}


def create_app(
    settings: Settings,
    tools: Iterable[ToolFunction | Tool] = (),
    agents: Mapping[str, AgentFunction] = NO_AGENTS,
) -> web.Application:
    """Return the application. It creates its parts at start-up and closes them at clean-up.

    If the settings name no address of Ollama, there are two cases. With agents, chats are answered
    by these alone, and the server neither looks for Ollama nor needs it. Without agents, the
    built-in fake answers as long as no Ollama answers at the usual address.

    Args:
        settings: The options.
        tools: Functions that models may call, besides those of `settings.tools`; see
            `dripline.tool`.
        agents: Functions that answer chats, by the name that chats give as their model, besides
            those of `settings.agents`; see `dripline_server.agents`.

    Raises:
        BadTool: A function cannot be a tool.
        BadAgent: A function cannot be an agent, or its name cannot be one. At start-up also: the
            name is that of a model.
        BadSetting: A module of `settings.tools` or `settings.agents` cannot be imported, or has
            nothing that is usable; or the file `settings.tokens` cannot be used.
    """
    tokens = KnownTokens(settings)
    callable_tools = as_tools([*_tools_of(settings), *tools])
    callable_agents = _agents_of(settings, agents)
    # Both are slow to build: not on import, and not while the first chat waits.
    phrases()
    page_tools()
    app = web.Application(middlewares=[answer_problems], client_max_size=settings.max_body)
    app.add_routes(info.routes)
    app.add_routes(ollama_models.routes)
    app.add_routes(chat.routes)
    app.add_routes(runs.routes)
    app.add_routes(agui.routes)
    app.add_routes(ui_message.routes)
    app.add_routes(openai.routes)
    app.add_routes(relay.routes)
    add_page(app)
    add_access(app, settings, tokens)

    async def live(app: web.Application) -> AsyncIterator[None]:
        async with _state(settings, callable_tools, callable_agents, tokens) as state:
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


def _agents_of(settings: Settings, functions: Mapping[str, AgentFunction]) -> Mapping[str, Agent]:
    try:
        loaded = as_agents(load_agents(settings.agents))
    except BadAgent as error:
        raise BadSetting(f"--agents: {error}") from error
    given = as_agents(functions)
    for name in loaded.keys() & given.keys():
        raise BadAgent(f"{name}: --agents has an agent of this name too")
    return loaded | given


@asynccontextmanager
async def _state(
    settings: Settings, tools: Sequence[Tool], agents: Mapping[str, Agent], tokens: KnownTokens
) -> AsyncIterator[AppState]:
    async with _upstreams(settings, agents) as upstreams:
        await _check_names(agents, settings, upstreams)
        hosted = AgentHost(agents, _demo_agents(upstreams.demo), settings, upstreams)
        budget = Budget(settings.total_log_bytes)
        figures = Metrics()
        records = RunRecords(settings.record)
        logs = _run_logs(settings, budget)  # last step that can fail: it opens connections
        runner = ToolRunner(
            timeout=settings.tool_timeout,
            max_result=settings.max_tool_result,
            on_call=figures.tool_called,
        )
        registry = RunRegistry(settings, upstreams, runner, logs, budget, figures, records, tokens)
        pulse = Pulse(heartbeat=settings.heartbeat, reader_timeout=settings.reader_timeout)
        watching = asyncio.create_task(tokens.watch(), name="watch the tokens")
        try:
            yield AppState(
                settings=settings,
                upstreams=upstreams,
                agents=hosted,
                offers_models=settings.names_ollama or not agents,
                tools=tools,
                runs=registry,
                logs=logs,
                pulse=pulse,
                metrics=figures,
                records=records,
                tokens=tokens,
            )
        finally:
            watching.cancel()
            await asyncio.wait({watching})
            await pulse.close()
            await hosted.close()
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


def _demo_agents(demo: str) -> Mapping[str, Agent]:
    """Return the agent that shows itself beside the demo model; none where Ollama answers."""
    if not demo:
        return {}
    from dripline_server.agents.tour import tour

    return as_agents({"tour": tour})


async def _check_names(
    agents: Mapping[str, Agent], settings: Settings, upstreams: Upstreams
) -> None:
    """Check that no agent has the name of a model, as far as the models can be known now.

    Raises:
        BadAgent: An agent has the name of a model.
    """
    if not (agents and settings.names_ollama):
        return
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT):
            models = await upstreams.current.models()
    except (UpstreamError, TimeoutError):
        return  # the agent is asked then, whatever models there are
    for model in models:
        if (name := model.name.removesuffix(":latest")) in agents:
            raise BadAgent(f"agents: {name}: Ollama has a model of this name; rename the agent")


@asynccontextmanager
async def _upstreams(settings: Settings, agents: Mapping[str, Agent]) -> AsyncIterator[Upstreams]:
    """Yield the named Ollama; if none is named and none answers, the fake until one does.

    With agents, nothing is looked for: an Ollama at the usual address is used only if one of them
    asks a model.
    """
    address = OllamaAddress(settings.ollama_url, settings.ollama_headers, settings.ollama_api_key)
    async with _connected(address, settings) as ollama:
        if settings.names_ollama or settings.openai or agents or await answers(ollama):
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
    state: AppState


@asynccontextmanager
async def serve(
    settings: Settings,
    tools: Iterable[ToolFunction | Tool] = (),
    agents: Mapping[str, AgentFunction] = NO_AGENTS,
) -> AsyncIterator[Server]:
    """Listen as `settings` say until the context is left; then end every run.

    Raises:
        OSError: The server cannot listen on the address.
        BadTool, BadAgent, BadSetting: See `create_app`.
    """
    app = create_app(settings, tools, agents)
    async with listening(app, settings, close_time=CLOSE_TIME) as url:
        yield Server(url, app[STATE])
