"""One request as its endpoint sees it: what came, what the fake knows, and how to answer."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field

from aiohttp import web

from dripline.clock import Clock
from dripline.recordings.matching import Playlist, UnexpectedRequest
from dripline.recordings.splits import SplitPlan, whole
from dripline.testing.fake_ollama import wire
from dripline.testing.fake_ollama.body import ResponseBody
from dripline.testing.fake_ollama.door import Door
from dripline.testing.fake_ollama.faults import Fault, FaultKind, Strikes
from dripline.testing.fake_ollama.go.go_reading import read_json
from dripline.testing.fake_ollama.go.go_types import Struct
from dripline.testing.fake_ollama.go.go_writing import go_json
from dripline.testing.fake_ollama.json_value import JsonObject, JsonValue
from dripline.testing.fake_ollama.loaded_models import Memory
from dripline.testing.fake_ollama.names import BadName, ModelRef, NoName, TwoSources, read_ref
from dripline.testing.fake_ollama.received import Ending, ReceivedRequest
from dripline.testing.fake_ollama.release import Release
from dripline.testing.fake_ollama.request import ApiError, read_fields, refused
from dripline.testing.fake_ollama.script import Replay, Script
from dripline.testing.fake_ollama.stored_models import Shelf, StoredModel

CLOUD_OFF = "ollama cloud is disabled"


@dataclass(slots=True)
class FakeState:
    """What the fake knows.

    Attributes:
        shelf: The models.
        registry: What can be pulled and pushed; None where there is no network.
        memory: Which models are loaded.
        blobs: The files that clients have brought, by digest: their sizes.
        faults: Faults by endpoint.
        strikes: How often faults have struck.
        release: The version that is played.
        clock: What to wait with.
        playlists: What is left of recordings.
        unexpected: What came for a recording that has no answer to it.
        ids: What ids are drawn from: always the same ones.
    """

    shelf: Shelf
    registry: MutableMapping[str, Script] | None
    memory: Memory
    faults: Mapping[str, Fault]
    release: Release
    clock: Clock
    playlists: MutableMapping[Replay, Playlist]
    unexpected: deque[UnexpectedRequest]
    blobs: dict[str, int] = field(default_factory=dict)
    strikes: Strikes = field(default_factory=Strikes)
    ids: random.Random = field(default_factory=lambda: random.Random(33))


@dataclass(slots=True)
class Visit:
    """A request that is being answered.

    Attributes:
        http: The request, as aiohttp has it.
        received: Where to note what happens.
        state: What the fake knows.
        param: What the path names, such as the model of "/v1/models/demo".
        cors: The headers for the page that has asked.
        data: The body.
        fault: A fault of the endpoint that is to strike, or None.
        door: How it is answered.
    """

    http: web.BaseRequest
    received: ReceivedRequest
    state: FakeState
    param: str = ""
    cors: list[tuple[str, str]] = field(default_factory=list)
    data: bytes = b""
    fault: Fault | None = None
    door: Door = field(default_factory=Door)

    def fields(self, struct: Struct, *, early: bool = False) -> JsonObject:
        """Return the fields of the body.

        Raises:
            ApiError: What Ollama answers where it is not JSON, or of another type.
        """
        body = refused(lambda: read_json(self.data), early=early)
        return read_fields(body, struct, early=early)

    def ref(self, name: str, missing: ApiError) -> ModelRef:
        """Return what a name in a request means.

        Args:
            name: As the client wrote it.
            missing: What is answered where there is none.

        Raises:
            ApiError: It cannot be a model's.
        """
        try:
            return read_ref(name)
        except NoName:
            raise missing from None
        except TwoSources as error:
            raise ApiError(400, str(error)) from error
        except BadName as error:
            raise ApiError(400, "invalid model name") from error

    def local(self, ref: ModelRef, *, unavailable: str = "remote model is unavailable") -> None:
        """Refuse a model of Ollama's cloud, which the fake has switched off.

        Raises:
            ApiError: It is one.
        """
        if ref.cloud:
            raise ApiError(403, f"{CLOUD_OFF}: {unavailable}")

    def refuse_cloud(self, fields: JsonObject) -> None:
        """Refuse a model of the cloud before a request is translated, as Ollama does.

        Raises:
            ApiError: In Ollama's own form.
        """
        try:
            ref = read_ref(str(fields.get("model") or ""))
        except BadName:
            return  # said later, in the endpoint's own form
        if ref.cloud:
            raise ApiError(403, f"{CLOUD_OFF}: remote model is unavailable", native=True)

    def stored(self, ref: ModelRef) -> StoredModel | None:
        """Return a model, if it is there."""
        return self.state.shelf.get(ref.name)

    def body(
        self,
        content_type: str,
        *,
        status: int = 200,
        split: SplitPlan = whole,
        headers: Iterable[tuple[str, str]] = (),
    ) -> ResponseBody:
        """Return an answer to send piece by piece."""
        typed = [("Content-Type", content_type)] if content_type else []
        all_headers = [*self.cors, *typed, *headers]
        return ResponseBody(
            self.http, self.received, split, all_headers, status=status, fault=self.fault
        )

    async def respond(
        self,
        data: bytes | None,
        content_type: str = wire.JSON,
        *,
        status: int = 200,
        headers: Iterable[tuple[str, str]] = (),
        ending: Ending = Ending.FINISHED,
        chunked: bool = False,
    ) -> web.StreamResponse:
        """Answer in one piece, unless the endpoint's fault meets it; None has no length either."""
        body = self.body(content_type, status=status, headers=headers)
        if self.fault and self.fault.at_byte is None:
            data = await self._struck(body, self.fault, data or b"")
        if chunked and data and not body.over:
            await body.send(data)
            if not body.over:
                await body.finish()
        elif not body.over:
            await body.send_whole(data)
        self.received.end(ending)
        return body.response

    async def _struck(self, body: ResponseBody, fault: Fault, data: bytes) -> bytes:
        """Let a fault meet an answer in one piece; return what is left to send."""
        match fault.kind:
            case FaultKind.GARBAGE:
                self.received.fault = fault
                return fault.line
            case FaultKind.LONG_LINE:
                self.received.fault = fault
                return data + b" " * fault.size
            case FaultKind.ERROR:
                self.fault = None
                self.received.fault = fault
                self.received.end(Ending.FAULTED)
                raise ApiError(500, fault.message)
            case FaultKind.TRUNCATED | FaultKind.LOOP:
                self.received.fault = fault
                return data[: len(data) // 2]
            case _:
                await body.strike(fault)
                return b""

    async def json(self, value: JsonValue) -> web.StreamResponse:
        """Answer a value as JSON."""
        return await self.respond(go_json(value))

    async def refuse(self, error: ApiError) -> web.StreamResponse:
        """Answer an error status."""
        content_type, data = self.door.refusal(error)
        stream = error.late and self.received.chat is not None and self.received.chat.stream
        if stream and content_type == wire.JSON:
            content_type = wire.PLAIN_JSON
        headers = list(error.headers.items())
        if not error.native:
            headers += self.door.stream_headers
        self.fault = None
        return await self.respond(
            data, content_type, status=error.status, headers=headers, chunked=stream
        )
