"""Real clients against the fake: `make clients` installs each from its registry, and tries it.

Each client has an environment of its own with pinned versions, and a program in `programs/` that
tries what the client can do and prints a line for each. `--write` puts the table into the docs;
`--dripline` tries OpenAI's clients with dripline in front of the fake.
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
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
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
from dripline_server import Settings, serve

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
AT_ONCE = 2


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


def uv() -> str:
    """Install `uv` if it is not there, and return its path; it makes environments in seconds."""
    python = _python_with_pip("uv")
    return str(Path(python).with_name("uv"))


def _python_with_pip(name: str) -> str:
    """Make an environment from pinned requirements with pip if it is not there."""
    python = ENVIRONMENTS / name / "bin/python"
    if _is_new(name):
        venv.create(ENVIRONMENTS / name, with_pip=True, clear=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *_wanted(name).split()], check=True)
        _stamp(name).write_text(_wanted(name))
    return str(python)


def _wanted(name: str) -> str:
    return (HERE / f"requirements/{name}.txt").read_text()


def _stamp(name: str) -> Path:
    return ENVIRONMENTS / name / "requirements.txt"


def _is_new(name: str) -> bool:
    return not _stamp(name).exists() or _stamp(name).read_text() != _wanted(name)


def python_environment(name: str) -> tuple[list[str], str]:
    """Make a client's environment if it is not there, and return its Python and its versions."""
    folder = ENVIRONMENTS / name
    python = str(folder / "bin/python")
    if _is_new(name):
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([uv(), "venv", "--quiet", "--python", sys.executable, folder], check=True)
        install = [uv(), "pip", "install", "--quiet", "--python", python]
        subprocess.run([*install, *_wanted(name).split()], check=True)
        _stamp(name).write_text(_wanted(name))
    return [python], ", ".join(_wanted(name).split())


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


@asynccontextmanager
async def server_for(ollama: FakeOllama, *, dripline: bool) -> AsyncIterator[str]:
    """Give the address of the fake, or of dripline in front of it."""
    if not dripline:
        yield ollama.url
        return
    async with serve(Settings(port=0, ollama=ollama.url)) as server:
        yield server.url


async def try_client(name: str, command: list[str], versions: str, *, dripline: bool) -> Tried:
    """Run a client's program against a fake of its own, or dripline in front of one."""
    tried = Tried(name, versions)
    pulled = {"pulled": Script(details=ModelDetails(size=20_000_000))}
    async with (
        FakeOllama(models(), registry=pulled) as ollama,
        server_for(ollama, dripline=dripline) as url,
    ):
        given = {
            "FAKE_OLLAMA": url,
            "OLLAMA_HOST": url,
            "OLLAMA_API_BASE": url,
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
        if process.returncode or not tried.problems:
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
    """Return operations and clients as Markdown."""
    names = [tried.name for tried in all_tried]
    lines = [
        "# Clients",
        "",
        "Real clients, each from its registry, against `FakeOllama`. `make clients` runs them and",
        "writes this page; ✓ passed, ✗ failed, – not tried: most of these have no such thing.",
        "",
        f"| | {' | '.join(f'`{name}`' for name in names)} |",
        f"|---|{'---|' * len(names)}",
    ]
    for operation in OPERATIONS:
        found = [tried.problems.get(operation) for tried in all_tried]
        marks = ["–" if problem is None else "✗" if problem else "✓" for problem in found]
        lines.append(f"| {operation} | {' | '.join(marks)} |")
    passed = sum(not problem for tried in all_tried for problem in tried.problems.values())
    total = sum(len(tried.problems) for tried in all_tried)
    lines += ["", f"{passed} of {total} operations pass.", "", "| client | versions |", "|---|---|"]
    lines += [f"| `{tried.name}` | {tried.versions} |" for tried in all_tried]
    return "\n".join(lines) + "\n"


async def run(names: Sequence[str], *, dripline: bool) -> list[Tried]:
    """Try clients, some at once, and say what came of each."""
    made = [(name, *command_of(name)) for name in names]
    room = asyncio.Semaphore(AT_ONCE)

    async def attempt(name: str, command: list[str], versions: str) -> Tried:
        async with room:
            tried = await try_client(name, command, versions, dripline=dripline)
        failed = {key: value for key, value in tried.problems.items() if value}
        print(f"{name}: {len(tried.problems) - len(failed)} of {len(tried.problems)}", flush=True)
        for operation, problem in failed.items():
            print(f"  {operation}: {problem}", flush=True)
        return tried

    return await asyncio.gather(*(attempt(*client) for client in made))


def main() -> int:
    """Run the command, and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.clients", description=__doc__)
    parser.add_argument("clients", nargs="*", help="which; all by default")
    parser.add_argument("--write", action="store_true", help=f"write {TABLE.name}")
    parser.add_argument("--check", action="store_true", help=f"fail if {TABLE.name} is another")
    parser.add_argument(
        "--dripline",
        action="store_true",
        help="put dripline before the fake: it passes on what it doesn't answer itself",
    )
    options = parser.parse_args()
    unknown = set(options.clients) - {*clients()}
    if unknown:
        parser.error(f"there is no client {sorted(unknown)[0]!r}; there are {', '.join(clients())}")
    if options.dripline and (options.write or options.check):
        parser.error("the table is of the fake alone: leave out --dripline")
    names = options.clients or clients()
    all_tried = asyncio.run(run(names, dripline=options.dripline))
    if options.write:
        TABLE.write_text(table(all_tried))
    elif options.check and TABLE.read_text() != table(all_tried):
        print(f"{TABLE.name} is another: write it with `make clients`")
        return 1
    return int(any(problem for tried in all_tried for problem in tried.problems.values()))


if __name__ == "__main__":
    sys.exit(main())
