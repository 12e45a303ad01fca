"""What may happen to one run of a soak, and what everybody has to say of it afterwards."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Sequence

import aiohttp

from dripline import EventDecoder
from dripline.events import End, Error, from_json
from dripline.recordings.splits import seeded
from dripline.testing import (
    Call,
    Ending,
    Fault,
    FaultKind,
    Pace,
    ReceivedRequest,
    Reply,
    Script,
    in_rounds,
)

STORY = ["word ", "Grüße ", "👩‍👩‍👧‍👦 ", "\x85"] * 10
TOOLS = ["completion", "tools"]
CALLS = [
    Reply(["Let ", "me ", "see. "], tool_calls=[Call("look_up", {"word": "grüße"})]),
    Reply("", tool_calls=[Call("wait", {"seconds": 0.01}), Call("nothing")]),
    Reply(STORY),
]
FAST = Pace(tokens_per_second=4000)
CODES = {
    FaultKind.STATUS: "ollama_failed",
    FaultKind.ERROR: "ollama_error",
    FaultKind.CUT: "upstream_cut",
    FaultKind.TRUNCATED: "upstream_truncated",
    FaultKind.RESET: "upstream_reset",
    FaultKind.STALL: "upstream_stalled",
    FaultKind.GARBAGE: "upstream_garbage",
}
# The model that has a server count what its process holds.
COUNTING = "counting"
MODELS = {
    "told": Script(STORY, pace=FAST, split=seeded(1)),
    "told-at-once": Script(STORY),
    "told-slowly": Script(STORY, pace=Pace(cold_load=0.05, tokens_per_second=200, jitter=1)),
    "status": Script(STORY, fault=Fault.status(500)),
    "error": Script(STORY, pace=FAST, fault=Fault.error(at_token=9)),
    "cut": Script(STORY, pace=FAST, fault=Fault.cut(at_token=9)),
    "truncated": Script(STORY, pace=FAST, fault=Fault.truncated(at_token=9)),
    "reset": Script(STORY, pace=FAST, fault=Fault.reset(at_token=9)),
    "stall": Script(STORY, pace=FAST, fault=Fault.stall(at_token=9)),
    "garbage": Script(STORY, pace=FAST, fault=Fault.garbage(at_token=9)),
    "tools": Script(in_rounds(*CALLS), pace=FAST, capabilities=TOOLS),
    COUNTING: Script(
        in_rounds(Reply("", tool_calls=[Call("count")]), Reply(["."])), capabilities=TOOLS
    ),
    "tools-cut": Script(
        in_rounds(*CALLS), pace=FAST, capabilities=TOOLS, fault=Fault.cut(at_token=30)
    ),
}
# The agents, and the code with which each ends.
AGENTS = {
    "tells": "",
    "tells_slowly": "",
    "in_thread": "",
    "on_model": "",
    "fails": "agent_failed",
    "says_why": "agent_failed",
}
# Without the one that is asked for.
DRAWN = [*AGENTS, *(model for model in MODELS if model != COUNTING)]
DIALECTS = {
    # Where each is asked, and what ends its streams.
    "agui": ("/agui", ("RUN_FINISHED", "RUN_ERROR")),
    "ui-message": ("/ai-sdk/chat", ("[DONE]",)),
}
FATES = ["read", "read", "two readers", "stop", "leave", "leave at once", *DIALECTS]


class Follower:
    """Reads a run over as many connections as its luck needs; sees each event once."""

    def __init__(
        self, http: aiohttp.ClientSession, urls: Sequence[str], draw: random.Random
    ) -> None:
        self.http = http
        self.urls = urls
        self.draw = draw
        self.ids: list[int] = []
        self.ends = 0
        self._response: aiohttp.ClientResponse | None = None
        self._decoder = EventDecoder()

    async def follow(self, run_id: str, response: aiohttp.ClientResponse | None = None) -> None:
        """Follow to the end; each connection is dropped by chance."""
        while not self.ends:
            if response is None:
                position = {"Last-Event-ID": str(self.ids[-1] if self.ids else 0)}
                url = f"{self.draw.choice(self.urls)}/runs/{run_id}/events"
                response = await self.http.get(url, headers=position)
                assert response.status == 200, await response.text()
            await self.read(response, drop_after=self.draw.choice([0, 1, 5, 20, None, None]))
            response.close()
            response = None

    async def read(self, response: aiohttp.ClientResponse, drop_after: int | None) -> None:
        """Read a connection on, to its end or until so many events have come."""
        if response is not self._response:
            self._response, self._decoder = response, EventDecoder()
        came = 0
        while drop_after is None or came <= drop_after:
            size = self.draw.choice([1, 17, 4096])
            chunk = await response.content.read(size)
            if not chunk:
                return
            for message in self._decoder.feed(chunk):
                self.ids.append(int(message.id))
                self.ends += isinstance(from_json(message.data), End)
                came += 1


async def live(
    http: aiohttp.ClientSession, urls: Sequence[str], nth: int, draw: random.Random
) -> tuple[str, str, list[Follower]]:
    """One run with a drawn fate; returns its id, model, and followers that read it whole."""
    model = draw.choice(DRAWN)
    # By the usual time-outs, an Ollama that falls silent is waited for ten minutes: it is stopped,
    # once there is an event (tokens that come together are one).
    fate, most = ("stop", 0) if model == "stall" else (draw.choice(FATES), 9)
    if fate in DIALECTS:
        return await read_dialect(http, draw.choice(urls), fate, model, str(nth)), model, []
    body = {
        "messages": [{"role": "user", "content": str(nth)}],
        "model": model,
        "on_disconnect": "stop" if fate == "leave at once" else "continue",
    }
    response = await http.post(f"{draw.choice(urls)}/chat", json=body)
    assert response.status == 200
    run_id = response.headers["X-Run-Id"]
    followers = [Follower(http, urls, draw) for _ in range(2 if fate == "two readers" else 1)]
    if fate in ("leave", "leave at once"):
        await followers[0].read(response, drop_after=draw.randint(0, most))
        response.close()
        return run_id, model, []
    if fate == "stop":
        await followers[0].read(response, drop_after=draw.randint(0, most))
        answer = await http.delete(f"{draw.choice(urls)}/runs/{run_id}")
        assert answer.status in (202, 204)
    first, *others = followers
    await asyncio.gather(first.follow(run_id, response), *(f.follow(run_id) for f in others))
    return run_id, model, followers


async def read_dialect(
    http: aiohttp.ClientSession, url: str, name: str, model: str, text: str
) -> str:
    """One run that is read whole in another dialect; returns its id."""
    path, last = DIALECTS[name]
    if name == "agui":
        body: dict[str, object] = {
            "threadId": text,
            "runId": text,
            "state": {},
            "messages": [{"id": "1", "role": "user", "content": text}],
            "tools": [],
            "context": [],
            "forwardedProps": {"dripline": {"model": model}},
        }
    else:
        parts = [{"type": "text", "text": text}]
        body = {"id": text, "messages": [{"id": "1", "role": "user", "parts": parts}]}
        body |= {"trigger": "submit-message", "model": model}
    response = await http.post(url + path, json=body)
    assert response.status == 200, await response.text()
    datas = [message.data for message in EventDecoder().feed(await response.read())]
    kinds = [data if data == "[DONE]" else json.loads(data)["type"] for data in datas]
    assert kinds[-1] in last
    assert sum(kind in last for kind in kinds) == 1
    return response.headers["X-Run-Id"]


async def ending_of(http: aiohttp.ClientSession, url: str, run_id: str) -> tuple[str, str]:
    """How the run ended by its log: the status of `end`, and the error's code."""
    response = await http.get(f"{url}/runs/{run_id}/events")
    messages = EventDecoder().feed(await response.read())
    assert [int(message.id) for message in messages] == list(range(1, len(messages) + 1))
    events = [from_json(message.data) for message in messages]
    ends = [event for event in events if isinstance(event, End)]
    errors = [event for event in events if isinstance(event, Error)]
    assert len(ends) == 1
    assert events[-1] is ends[0]
    assert len(errors) == (ends[0].status == "failed")
    return ends[0].status, errors[0].code if errors else ""


def agrees(request: ReceivedRequest, status: str, code: str) -> bool:
    """Whether the fake Ollama's record and the run's ending tell the same story."""
    match status:
        case "completed":
            return request.ended is Ending.FINISHED
        case "cancelled":
            # A fault may have struck just before the client left, or all have been on its way.
            return (
                request.ended in (Ending.CLIENT_LEFT, Ending.FINISHED) or request.fault is not None
            )
        case _:
            return request.fault is not None and CODES[request.fault.kind] == code


def asked(request: ReceivedRequest) -> str:
    """What the request asks: the number of its run."""
    assert isinstance(request.body, dict)
    return next(str(m["content"]) for m in request.body["messages"] if m["role"] == "user")


def check_followers(followers: Sequence[Follower]) -> None:
    """Each has seen one end, and every event once."""
    for follower in followers:
        assert follower.ends == 1
        assert follower.ids == list(range(1, len(follower.ids) + 1))


async def check_told(request: ReceivedRequest | None, status: str, code: str, model: str) -> None:
    """Ollama's record of a run's last request says the same as the run's ending."""
    if model in AGENTS:
        assert status == "cancelled" or (status == "failed", code) == (
            bool(AGENTS[model]),
            AGENTS[model],
        )
    if model in AGENTS and request is None:
        return
    if request is None:
        assert status == "cancelled"  # stopped before the request was sent
        return
    await request.wait_ended()
    assert agrees(request, status, code), (request, status, code)
