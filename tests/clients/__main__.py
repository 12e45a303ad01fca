"""Real clients against the fake: `make clients` installs each from its registry, and tries it.

Each client has an environment of its own with pinned versions, and a program in `programs/` that
tries what the client can do and prints a line for each. `--write` puts the table into the docs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dripline.testing import (
    Call,
    Ending,
    FakeOllama,
    Fault,
    ModelDetails,
    Pace,
    ReceivedChat,
    Reply,
    Script,
    demo_models,
    in_rounds,
)

HERE = Path(__file__).parent
ENVIRONMENTS = HERE / ".environments"
PROGRAMS = HERE / "programs"
TABLE = HERE.parents[1] / "docs/clients.md"
SECONDS = 180  # for one program

STORY = "Once upon a time there was a fox."
THOUGHT = "Hm, let me see."
OPERATIONS = (
    *("list", "show", "whole", "stream", "async", "generate", "streamed generate", "responses"),
    *("tools", "tool results", "streamed tools", "functions as tools", "thinking"),
    *("streamed thinking", "structured", "streamed structured", "JSON", "pictures"),
    *("log probabilities", "limits", "usage", "embeddings", "OpenAI's API", "no such model"),
    *("bad request", "busy", "cut", "error in the stream", "abort", "load, unload, ps", "pull"),
    *("create", "copy, push, delete"),
)
# Clients of `/v1/chat/completions`, which dripline answers itself, and what they try beside it.
OPENAI_CLIENTS = (
    *("openai_py", "openai_js", "pydantic_ai_py", "langchain_openai_py", "instructor_py"),
    "litellm_py",
)
BESIDE_CHATS = ("generate", "streamed generate", "responses", "embeddings")
# What CI tries: the clients whose environments are made in seconds.
QUICK = (
    *("ai_sdk_ollama_js", "anthropic_py", "langchain_ollama_py", "ollama_js", "ollama_py"),
    *("openai_js", "openai_py", "pydantic_ai_py"),
)


@dataclass
class Tried:
    """What came of a client.

    Attributes:
        name: The program's.
        versions: What was installed.
        problems: By operation; "" where it passed.
    """

    name: str
    versions: str
    problems: dict[str, str] = field(default_factory=dict)


def answering(request: ReceivedChat) -> str:
    """Return the fields that `dspy` asks for, in its own format or in JSON."""
    fields = {"reasoning": "It is in the story.", "answer": "a fox"}
    asked = " ".join(message.content for message in request.messages)
    wanted = {name: text for name, text in fields.items() if f"## {name} ##" in asked}
    if request.format or not wanted:
        return json.dumps(fields)
    said = [f"[[ ## {name} ## ]]\n{text}" for name, text in wanted.items()]
    return "\n\n".join([*said, "[[ ## completed ## ]]"])


def models() -> dict[str, Script]:
    """Return what the programs talk to."""
    rounds = in_rounds(
        Reply(tool_calls=[Call("get_weather", {"city": "Oslo"})]), "It rains in Oslo."
    )
    return {
        "story": Script(STORY, capabilities=["completion", "tools"]),
        "thinker": Script(Reply(STORY, thinking=THOUGHT)),
        "caller": Script(rounds, capabilities=["completion", "tools"]),
        "plain": Script(STORY),
        "demo": Script(demo_models()["demo"].reply, capabilities=["completion", "tools", "vision"]),
        "vectors": Script(capabilities=["embedding"], details=ModelDetails(embedding_length=8)),
        "busy": Script(fault=Fault.status(503)),
        "cut": Script(STORY, fault=Fault.cut(at_token=3)),
        "failing": Script(STORY, fault=Fault.error("out of memory", at_token=3)),
        "answering": Script(answering),
        "slow": Script("word " * 10_000, Pace(tokens_per_second=50)),
    }


def python_environment(name: str) -> tuple[list[str], str]:
    """Make a client's environment if it is not there, and return its Python and its versions."""
    wanted = (HERE / f"requirements/{name}.txt").read_text()
    folder = ENVIRONMENTS / name
    stamp = folder / "requirements.txt"
    python = folder / "bin/python"
    if not stamp.exists() or stamp.read_text() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        venv.create(folder, with_pip=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *wanted.split()], check=True)
        stamp.write_text(wanted)
    return [str(python)], ", ".join(wanted.split())


def node_environment() -> str:
    """Bring what the programs for Node.js need."""
    folder = PROGRAMS / "js"
    modules = folder / "node_modules/.package-lock.json"
    lock = folder / "package-lock.json"
    if not modules.exists() or modules.stat().st_mtime < lock.stat().st_mtime:
        subprocess.run(["npm", "ci", "--silent"], cwd=folder, check=True)
        modules.touch()
    packages: dict[str, str] = json.loads((folder / "package.json").read_text())["dependencies"]
    return ", ".join(f"{name}@{number}" for name, number in packages.items())


def command_of(name: str) -> tuple[list[str], str]:
    """Return how a client's program is run, and its versions."""
    if name.endswith("_js"):
        return ["node", str(PROGRAMS / f"js/{name}.mjs")], node_environment()
    python, versions = python_environment(name.removesuffix("_py"))
    return [*python, str(PROGRAMS / f"{name}.py")], versions


async def try_client(name: str) -> Tried:
    """Run a client's program against a fake of its own."""
    command, versions = await asyncio.to_thread(command_of, name)
    tried = Tried(name, versions)
    pulled = {"pulled": Script(details=ModelDetails(size=20_000_000))}
    async with FakeOllama(models(), registry=pulled) as ollama:
        given = {
            "FAKE_OLLAMA": ollama.url,
            "OLLAMA_HOST": ollama.url,
            "OLLAMA_API_BASE": ollama.url,
            "LLM_USER_PATH": str(ENVIRONMENTS / "llm-user"),
            "PYTHONPATH": str(PROGRAMS),
        }
        process = await asyncio.create_subprocess_exec(
            *command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, **given}
        )
        try:
            async with asyncio.timeout(SECONDS):
                out, err = await process.communicate()
        except TimeoutError:
            process.kill()
            out, err = await process.communicate()
        for line in out.decode().splitlines():
            if line.startswith('{"operation"'):
                result = json.loads(line)
                tried.problems[result["operation"]] = result["problem"]
        if not tried.problems:
            tried.problems["start"] = err.decode()[-400:] or "it said nothing"
        left = [chat for chat in ollama.chats if chat.chat and chat.chat.model == "slow"]
        if "abort" in tried.problems and not tried.problems["abort"]:
            endings = [chat.ended for chat in left]
            if endings != [Ending.CLIENT_LEFT] * max(1, len(left)):
                tried.problems["abort"] = f"the model went on: {endings}"
    return tried


def clients() -> list[str]:
    """Return the programs that there are."""
    python = [path.stem for path in PROGRAMS.glob("*_py.py")]
    return sorted([*python, *(path.stem for path in PROGRAMS.glob("js/*_js.mjs"))])


def table(all_tried: Sequence[Tried]) -> str:
    """Return clients and operations as Markdown."""
    lines = [
        "# Clients",
        "",
        "Real clients, each from its registry, against `FakeOllama`. `make clients` runs them and",
        "writes this page; ✓ passed, ✗ failed, – the client has no such thing.",
        "",
        f"| client | {' | '.join(OPERATIONS)} |",
        f"|---|{'---|' * len(OPERATIONS)}",
    ]
    for tried in all_tried:
        marks = [
            "–" if name not in tried.problems else "✗" if tried.problems[name] else "✓"
            for name in OPERATIONS
        ]
        lines.append(f"| `{tried.name}` | {' | '.join(marks)} |")
    passed = sum(not problem for tried in all_tried for problem in tried.problems.values())
    total = sum(len(tried.problems) for tried in all_tried)
    lines += ["", f"{passed} of {total} operations pass.", "", "| client | versions |", "|---|---|"]
    lines += [f"| `{tried.name}` | {tried.versions} |" for tried in all_tried]
    return "\n".join(lines) + "\n"


async def run(names: Sequence[str]) -> list[Tried]:
    """Try clients one after the other, and say what came of each."""
    all_tried = []
    for name in names:
        tried = await try_client(name)
        all_tried.append(tried)
        failed = {key: value for key, value in tried.problems.items() if value}
        print(f"{name}: {len(tried.problems) - len(failed)} of {len(tried.problems)}", flush=True)
        for operation, problem in failed.items():
            print(f"  {operation}: {problem}", flush=True)
    return all_tried


def main() -> int:
    """Run the command, and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.clients", description=__doc__)
    parser.add_argument("clients", nargs="*", help="which; all by default")
    parser.add_argument("--write", action="store_true", help=f"write {TABLE.name}")
    options = parser.parse_args()
    unknown = set(options.clients) - {*clients()}
    if unknown:
        parser.error(f"there is no client {sorted(unknown)[0]!r}; there are {', '.join(clients())}")
    all_tried = asyncio.run(run(options.clients or clients()))
    if options.write:
        TABLE.write_text(table(all_tried))
    return int(any(problem for tried in all_tried for problem in tried.problems.values()))


if __name__ == "__main__":
    sys.exit(main())
