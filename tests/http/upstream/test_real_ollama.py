"""What dripline makes of real Ollamas' answers, 0.33 and 0.25, however their bytes are cut."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from random import Random

import aiohttp
import orjson
import pytest

from dripline import ChatClient, End, ErrorCode, Event, Recording, RunFailed, Start
from dripline.answer import Answer
from dripline.events import from_json
from dripline.http.backoff import Backoff
from dripline.recordings.recording import ExchangeEnding, Request
from dripline.recordings.replay_server import ReplayServer
from dripline.recordings.splits import (
    as_recorded,
    every_byte,
    seeded,
    two_way_splits,
    usual_splits,
)
from dripline_server.app import serve
from dripline_server.settings import Settings
from tests.conformance.decoders import LIMIT, decode_in_node, decode_in_python
from tests.conformance.reference_decoder import decode
from tests.support.recorded import real
from tests.support.recordings import recording_of
from tests.support.stack import user
from tests.support.upstream_body import read_body

REAL = real()
sample = Random(1).sample


@dataclass(frozen=True, slots=True)
class Said:
    """What a recording says; log probabilities are compared with the recording itself.

    Attributes:
        outcome: The end's reason, or the error's code.
        text: How the text begins, and for an error what its message has.
        thinking: The whole of it.
        calls: The tools called, with their arguments.
    """

    outcome: str
    text: str = ""
    thinking: str = ""
    calls: tuple[tuple[str, object], ...] = ()


WEATHER = "get_weather"
SAID = {
    "0.33 busy-503": Said("ollama_busy", "maximum pending requests exceeded. Try again later."),
    "0.33 emoji": Said("length", "Repeat exactly: 👩‍🔬🏳️‍🌈 𓀀 ﷽ 🫠"),
    "0.33 empty-answer": Said("stop"),
    "0.33 error-400-image": Said("ollama_refused", "(400): Multimodal data provided, but model"),
    "0.33 error-400-think": Said("ollama_refused", "does not support thinking"),
    "0.33 error-400-tools": Said("ollama_refused", "does not support tools"),
    "0.33 error-404": Said("model_not_found", "ollama pull"),
    "0.33 error-500-format": Said("ollama_refused", "invalid format"),
    "0.33 error-500-option": Said("ollama_refused", 'option "num_predict" must be of type integer'),
    "0.33 format-schema": Said("stop", "{"),
    "0.33 killed-runner": Said("ollama_error", "unexpected EOF"),
    "0.33 killed-runner-early": Said("ollama_error", "unexpected EOF"),
    "0.33 killed-runner-loading": Said("ollama_failed", "signal: killed"),
    "0.33 killed-serve": Said("upstream_cut", "closed the connection"),
    "0.33 length": Said("length"),
    "0.33 load": Said("load"),
    "0.33 logprobs": Said("length"),
    "0.33 logprobs-emoji": Said("length"),
    "0.33 nonstream": Said("length"),
    "0.33 overlong-400": Said("ollama_refused", "exceeds the available context size (256 tokens)"),
    "0.33 plain": Said("length"),
    "0.33 repeat-abort-no-done": Said("model_repeats", "repeat_penalty"),
    "0.33 stop": Said("stop"),
    "0.33 thinking": Said("length", "I wonder why.\n", "I wonder why."),
    "0.33 thinking-logprobs": Said("length", "I wonder why.\n", "I wonder why."),
    "0.33 thinking-nonstream": Said("length", "I wonder why.\n", "I wonder why."),
    "0.33 tools": Said("length", calls=((WEATHER, {"city": "Zürich"}),)),
    "0.33 tools-logprobs": Said("length", calls=((WEATHER, {"city": "Bern"}),)),
    "0.33 tools-nonstream": Said("length", calls=((WEATHER, {"city": "Zürich"}),)),
    "0.33 tools-result": Said("length"),
    "0.33 unload": Said("unload"),
    "0.25 emoji": Said("length", "Repeat exactly: 👩‍🔬🏳️‍🌈 𓀀 ﷽ 🫠"),
    "0.25 error-400-image": Said("ollama_refused", "missing data required for image input"),
    "0.25 error-500-format": Said("ollama_refused", "invalid format"),
    "0.25 error-500-option": Said("ollama_refused", 'option "num_predict" must be of type integer'),
    "0.25 format-schema": Said("stop", "{"),
    "0.25 killed-runner": Said("ollama_error", "unexpected EOF"),
    "0.25 length": Said("length"),
    "0.25 load": Said("load"),
    "0.25 logprobs": Said("length"),
    "0.25 overlong-400": Said("ollama_refused", "input length exceeds the context length"),
    "0.25 thinking": Said("length", "I wonder why.\n", "I wonder why."),
    "0.25 tools": Said("length", "<model_name>"),
    "0.25 tools-logprobs": Said("length", calls=((WEATHER, {"city": "Bern"}),)),
    "0.25 unload": Said("unload"),
}


def test_every_recording_is_in_the_table() -> None:
    """None is overlooked."""
    assert SAID.keys() == REAL.keys()


def essence_of(events: Iterable[Event]) -> list[object]:
    """The events without ids and times that differ in every run."""
    return [
        "start"
        if isinstance(event, Start)
        else (event.status, event.reason, event.usage.prompt_tokens, event.usage.completion_tokens)
        if isinstance(event, End)
        else event
        for event in events
    ]


async def ask(url: str) -> tuple[Answer, list[Event]]:
    """Ask through a dripline server whose Ollama answers at this address."""
    events: list[Event] = []
    settings = Settings(port=0, ollama=url, loading_after=3600)
    async with serve(settings) as server, ChatClient(server.url) as client:
        try:
            async with client.chat("Hi", model="demo") as stream:
                async for event in stream:
                    events.append(event)  # noqa: PERF401 (what came before the raise counts)
        except RunFailed:
            pass
    return stream.answer, events


@pytest.mark.parametrize("name", SAID)
async def test_what_it_says(name: str) -> None:
    """Over real sockets: all of it, as events, and the same however the bytes are cut."""
    said, recording, first = SAID[name], REAL[name], None
    for plan in (as_recorded, every_byte):
        async with ReplayServer(recording, split=plan, speed=math.inf) as ollama:
            answer, events = await ask(ollama.url)
        first = first or essence_of(events)
        assert essence_of(events) == first, str(plan)
    assert answer.end
    assert (answer.error.code if answer.error else answer.end.reason) == said.outcome
    if answer.error:
        assert said.text in answer.error.message
        code = next(code for code in ErrorCode if code == said.outcome)
        assert answer.error.retryable is code.retryable
    else:
        assert answer.text.startswith(said.text)
    assert answer.thinking == said.thinking
    assert tuple((call.name, call.arguments) for call in answer.tool_calls) == said.calls
    if not answer.error:
        chunks = map(orjson.loads, recording.body.splitlines())
        sent = [one for chunk in chunks for one in chunk.get("logprobs", ())]
        assert [one for event in events for one in getattr(event, "logprobs", None) or ()] == sent


STREAMS = [name for name, one in REAL.items() if one.response and one.response.status == 200]


@pytest.mark.parametrize("name", STREAMS)
def test_at_every_split(name: str) -> None:
    """What the server reads of a body does not depend on where it is cut."""
    recording = REAL[name]
    if recording.ending is not ExchangeEnding.EOF:
        pytest.skip("its connection is cut, which is seen over sockets alone")

    def read(pieces: Sequence[bytes]) -> tuple[list[object], str, str]:
        events, answer, reader = read_body(pieces, max_line=2**20)
        failure = reader.failure.code if reader.failure else ""
        return essence_of(events), answer.reason, failure

    expected = read([recording.body])
    for plan in two_way_splits(len(recording.body)):
        assert read(plan(recording.chunks)) == expected, str(plan)


@pytest.mark.parametrize("name", STREAMS)
async def test_every_client_at_every_split(name: str) -> None:
    """What the server sends for it says the same to each client, wherever it is cut."""
    async with ReplayServer(REAL[name], speed=math.inf) as ollama:
        settings = Settings(port=0, ollama=ollama.url, loading_after=3600)
        async with serve(settings) as server, aiohttp.ClientSession() as http:
            body = {"messages": user("Hi"), "model": "demo"}
            async with http.post(f"{server.url}/chat", json=body) as response:
                sent = await response.read()
    expected = decode(sent, LIMIT)
    for plan in two_way_splits(len(sent)):
        assert decode_in_python(plan([sent]), LIMIT) == expected, str(plan)
    plans = [*usual_splits, *sample(list(two_way_splits(len(sent))), 20)]
    found = decode_in_node([(plan([sent]), LIMIT) for plan in plans])
    for plan, decoded in zip(plans, found, strict=True):
        assert decoded == expected, str(plan)
    events = [event for event in map(from_json, (one[1] for one in expected.events)) if event]
    asked = Request("POST", f"{server.url}/chat")
    recording = Recording([replace(recording_of([sent]).exchange, request=asked)])
    for plan in (every_byte, seeded(1)):
        async with (
            ReplayServer(recording, split=plan, speed=math.inf) as replaying,
            ChatClient(replaying.url, backoff=Backoff(attempts=0)) as client,
            client.chat("Hi") as stream,
        ):
            with suppress(RunFailed):
                assert [event async for event in stream] == events, str(plan)
            assert stream.answer.end
