"""Lines for a shell, run by bash one after the other, as somebody would type them."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import sys
from collections.abc import Mapping
from configparser import ConfigParser
from pathlib import Path

import aiohttp

from dripline.testing import Script
from tests.readme.blocks import Block
from tests.support.processes import BIN, command, line, run
from tests.support.programs import ROOT, require_program
from tests.support.stack import Stack, at, stack

# What the lines find in the folder where they run.
CHAT = '{"model": "mistral", "messages": [{"role": "user", "content": "Hi"}]}'
FILES = {
    "notes.txt": "The sky is blue.\n",
    "questions.txt": "Why is the sky blue?\nAnd at sunset?\n",
    "chat.json": CHAT,
    # Without these, an answer 4xx is no failure of curl's.
    ".curlrc": "fail-with-body\nsilent\nshow-error\n",
}
RECORDINGS = {"before.jsonl": "chat-plain.jsonl", "after.jsonl": "chat-thinking.jsonl"}
RECORDED = "sky.jsonl"  # by the lines themselves, or else there too
TYPED = b"Hi\n"
SERVES = ("dripline replay", "dripline fake-ollama", "dripline-server")


async def run_lines(block: Block, folder: Path) -> None:
    """Run each against a server whose Ollama has two models; none fails, each says something."""
    for name, text in FILES.items():
        (folder / name).write_text(text)
    for name, recording in RECORDINGS.items():
        shutil.copy(ROOT / "tests/recordings" / recording, folder / name)
    (folder / ".venv").symlink_to(sys.prefix)
    if f"record {RECORDED}" not in block.text:
        shutil.copy(folder / "before.jsonl", folder / RECORDED)
    blue = Script(["Blue", "."])
    async with stack({"mistral": blue, "llama3.2": blue}, model="mistral") as s:
        if "dripline ps" in block.text:
            await s.client.ask("Hi")  # one is in memory
        environment = _environment(s, folder)
        for text in _lines(block.text):
            await _run_line(re.sub(r"--port \d+", "--port 0", at(s, text)), folder, environment)


def _lines(text: str) -> list[str]:
    """The lines without their comments; one that ends with a backslash goes on in the next."""
    lines = text.replace("\\\n", "").splitlines()
    return [re.sub(r" +# .*", "", line).strip() for line in lines]


def _environment(s: Stack, folder: Path) -> dict[str, str]:
    return {
        "DRIPLINE_SERVER": s.url,
        "DRIPLINE_OLLAMA": s.ollama.url,
        "DRIPLINE_PORT": "0",
        "CURL_HOME": str(folder),
        "MPLCONFIGDIR": str(folder),
        "XDG_STATE_HOME": str(folder),
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
    }


async def _run_line(text: str, folder: Path, environment: Mapping[str, str]) -> None:
    words = shlex.split(text)
    if words[:2] == ["pip", "install"]:
        check_extras(words[2:])
    elif words[0] == "make":
        await _check_targets(words[1:])
    elif text.startswith(SERVES) and words[1:2] != ["token"]:
        await _serve(text, folder, environment)
    else:
        for program in {"curl", "jq"} & set(words):
            require_program(program)
        code, out, err = await run(
            *_bash(f"set -o pipefail; {text}"), stdin=TYPED, environment=environment, folder=folder
        )
        assert code == 0, err
        assert ("Blue" if re.search(r"\b(ask|chat)\b", text) else "\n") in out


def _bash(script: str) -> tuple[str, str, str]:
    return require_program("bash"), "-c", script


async def _check_targets(targets: list[str]) -> None:
    """The Makefile has them."""
    code, out, err = await run(require_program("make"), "-n", *targets, folder=ROOT)
    assert code == 0, err
    assert "Nothing to be done" not in out  # as for the name of a folder


def check_extras(packages: list[str]) -> None:
    """They are dripline, with extras that it has."""
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    for package in packages:
        found = re.fullmatch(r"(?:dripline|\.)(?:\[(.+)\])?", package)
        assert found, package
        for extra in (found[1] or "").split(","):
            assert not extra or extra in setup["options.extras_require"]


async def _serve(text: str, folder: Path, environment: Mapping[str, str]) -> None:
    """Start it, see it answer, and end it with Ctrl-C."""
    async with command(
        *_bash(f"exec {text}"), stderr=None, environment=environment, folder=folder
    ) as it:
        url = (await line(it)).rpartition(" ")[2]
        async with aiohttp.ClientSession() as http, http.get(url) as response:
            # A replay has nothing recorded for "/", and says so.
            assert response.status == (404 if "dripline replay" in text else 200)
            assert await response.read()
        it.send_signal(signal.SIGINT)
        assert await it.wait() == 0
