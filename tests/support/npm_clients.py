"""The real AG-UI client and the AI SDK's chat, from npm, in one process of Node.js."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from tests.support.programs import ROOT, require_npm_packages, require_program

Json = dict[str, Any]

# For `static/net/agui-fetch.js`: no test waits.
AT_ONCE = {"firstWait": 1, "longestWait": 5}


class NpmClients:
    """The process; its commands are carried out one after the other.

    It is started with the first of them, and anew after one that was given up.
    """

    def __init__(self) -> None:
        require_npm_packages("tests/js")
        script = str(ROOT / "tests/js/clients.mjs")
        self._command = [require_program("node"), "--no-warnings", script]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._kill()

    async def agui(self, url: str, messages: list[Json], **parameters: Any) -> AguiOutcome:
        """Have `HttpAgent` make a run.

        Args:
            url: The server's.
            messages: The conversation so far, AG-UI's.
            parameters: Of its `runAgent`, such as `tools`; and `resuming`, `abortAfter`.
        """
        own = {name: parameters.pop(name, None) for name in ("resuming", "abortAfter", "headers")}
        runs = {"threadId": "thread", "runId": "run", "messages": messages, **parameters}
        said = await self._do(
            "agui", url=f"{url}/agui", input=runs, **{k: v for k, v in own.items() if v}
        )
        return AguiOutcome(said)

    async def chat(self, url: str, text: str = "Hi", **parameters: Any) -> ChatOutcome:
        """Have the AI SDK's chat send a text, or do something else (`does`)."""
        asked = {"id": "chat", "messages": [], "text": text, **parameters}
        return ChatOutcome(await self._do("chat", api=f"{url}/ai-sdk/chat", **asked))

    async def fetched(self, url: str, body: Json, **parameters: Any) -> Fetched:
        """Have `static/net/agui-fetch.js` post this body; `resuming` is what it is made with."""
        said = await self._do("fetched", url=url, body=body, **{"resuming": AT_ONCE, **parameters})
        pieces = [base64.b64decode(piece) for piece in said["pieces"]]
        return Fetched(pieces, said["error"] or "", said.get("runId") or "", said["unhandled"])

    async def _do(self, command: str, **parameters: Any) -> Json:
        process = self._running()
        assert process.stdin
        assert process.stdout
        line = json.dumps({"command": command, **parameters}).encode()
        process.stdin.write(line + b"\n")
        process.stdin.flush()
        try:
            answer = await asyncio.to_thread(process.stdout.readline)
        except BaseException:
            self._kill()  # else the thread would wait for ever, and the next test with it
            raise
        said: Json = json.loads(answer)
        assert "fault" not in said, said["fault"]
        return said

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
        return self._process

    def _kill(self) -> None:
        if self._process:
            self._process.kill()
            self._process.communicate()
            self._process = None


@dataclass(frozen=True, slots=True)
class Fetched:
    """What `static/net/agui-fetch.js` handed on.

    Attributes:
        pieces: The body's bytes.
        error: What it failed of; "" where it came to its end.
        run_id: dripline's name of the run.
        unhandled: Rejections that nobody handled.
    """

    pieces: list[bytes]
    error: str
    run_id: str
    unhandled: list[str]

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)


@dataclass(frozen=True, slots=True)
class AguiOutcome:
    """What a run of the AG-UI client came to."""

    said: Json

    @property
    def events(self) -> list[Json]:
        events: list[Json] = self.said["events"]
        return events

    @property
    def kinds(self) -> list[str]:
        """The types of its events, one for each stretch of the same."""
        kinds = [event["type"] for event in self.events]
        return [k for k, before in zip(kinds, [None, *kinds], strict=False) if k != before]

    @property
    def messages(self) -> list[Json]:
        """The conversation afterwards."""
        messages: list[Json] = self.said["messages"]
        return messages

    @property
    def text(self) -> str:
        return "".join(m.get("content", "") for m in self.messages if m["role"] == "assistant")

    @property
    def thinking(self) -> str:
        return "".join(m["content"] for m in self.messages if m["role"] == "reasoning")

    @property
    def tool_calls(self) -> list[tuple[str, str, Json]]:
        return [
            (call["id"], call["function"]["name"], json.loads(call["function"]["arguments"]))
            for message in self.messages
            for call in message.get("toolCalls", ())
        ]

    @property
    def ending(self) -> tuple[str, str]:
        """How it ended, and why: Ollama's reason, or the error's code."""
        last = self.events[-1]
        if last["type"] == "RUN_ERROR":
            return "failed", last["code"]
        assert last["type"] == "RUN_FINISHED"
        if last["outcome"]["type"] == "cancelled":
            return "cancelled", ""
        assert last["outcome"]["type"] == "success"
        return "completed", last["result"]["reason"]


@dataclass(frozen=True, slots=True)
class ChatOutcome:
    """What the AI SDK's chat came to."""

    said: Json

    @property
    def messages(self) -> list[Json]:
        messages: list[Json] = self.said["messages"]
        return messages

    @property
    def message(self) -> Json:
        """The answer."""
        assert self.messages[-1]["role"] == "assistant"
        return self.messages[-1]

    def joined(self, kind: str) -> str:
        """The answer's texts of a kind: "text" or "reasoning"."""
        return "".join(part["text"] for part in self.message["parts"] if part["type"] == kind)

    @property
    def tool_calls(self) -> list[tuple[str, str, Json]]:
        return [
            (part["toolCallId"], part["type"].removeprefix("tool-"), part["input"])
            for part in self.message["parts"]
            if part["type"].startswith("tool-")
        ]

    @property
    def ending(self) -> tuple[str, str]:
        """How it ended, and why: Ollama's reason, or the error's code."""
        about = self.message["metadata"]
        return about["status"], about.get("error", {}).get("code", about["reason"])
