"""How the harness talks to the load's processes: one JSON line asks, one JSON line answers."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

Command = Callable[..., Awaitable[dict[str, Any]]]


async def answer_commands(commands: Mapping[str, Command], hello: dict[str, Any]) -> None:
    """Say `hello`, then answer each line of standard input, until it ends.

    Args:
        commands: By name; each gets the asking line's other fields.
        hello: The first line of standard output.
    """
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    _say(hello)
    while line := await lines.readline():
        fields = json.loads(line)
        _say(await commands[fields.pop("do")](**fields))


def _say(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
