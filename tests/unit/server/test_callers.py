"""Callers and their limits, without a server."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path

import pytest

from dripline.errors import ErrorCode
from dripline.events import End
from dripline_server import known_tokens, token_file
from dripline_server.callers import UNNAMED, Caller
from dripline_server.known_tokens import KnownTokens
from dripline_server.metrics import MAX_CALLERS, Metrics
from dripline_server.run_log.redis.remote import About
from dripline_server.runs.places import Places, RegistryFull
from dripline_server.settings import BadSetting, Settings
from dripline_server.token_file import BadTokenFile

ALLOWED = {
    ("llama3.2", "llama3.2"): True,
    ("llama3.2", "LLAMA3.2:latest"): True,
    ("llama3.2", "registry.ollama.ai/library/llama3.2"): True,
    ("library/llama3.2:latest", "llama3.2"): True,
    ("llama3.2", "llama3.2:1b"): False,
    ("llama3.2", "llama3"): False,
    ("llama3.2", "llama3x2"): False,
    ("llama3.2", "me/llama3.2"): False,
    ("llama3.2", ""): False,
    ("qwen3:*", "qwen3"): True,
    ("QWEN3:*", "qwen3:4b"): True,
    ("qwen3:*", "qwen3-coder"): False,
    ("qwen*", "qwen3-coder:30b"): True,
    ("library/qwen*", "qwen3"): True,
    ("qwen*", "me/qwen3"): False,
    ("hf.co/*", "hf.co/bartowski/x:Q4"): True,
    ("*:cloud", "gpt-oss:cloud"): True,
    ("*", "anything:at-all"): True,
}


@pytest.mark.parametrize(("pair", "allowed"), ALLOWED.items())
def test_the_models_that_a_caller_may_use(pair: tuple[str, str], allowed: bool) -> None:
    """By any of a model's names; `*` is any text."""
    pattern, model = pair
    assert Caller("alice", models=(pattern,)).may_use(model) is allowed
    assert Caller("alice", models=("other", pattern)).may_use(model) is allowed
    assert Caller("alice").may_use(model)
    assert UNNAMED.may_use(model)


def test_who_may_change_models() -> None:
    """A named token may if its own entry says so; the server's setting is for the others."""
    for by_default in (True, False):
        assert Caller("a", allow_model_changes=True).may_change_models(by_default)
        assert not Caller("a", allow_model_changes=False).may_change_models(by_default)
        assert UNNAMED.may_change_models(by_default) is by_default


def test_places() -> None:
    """A caller's own limit counts their runs alone, the server's all; nothing is left of either."""
    places, alice, bob = Places(3), Caller("alice", max_runs=1), Caller("bob")
    places.take(alice)
    for _ in range(2):
        with pytest.raises(RegistryFull, match=r"alice has 1 chats .*\(max_runs\)") as full:
            places.take(alice)
        assert full.value.code is ErrorCode.TOO_MANY_RUNS
    places.take(bob)
    places.take(bob)
    with pytest.raises(RegistryFull, match=r"3 chats .*\(--max-runs\)") as full:
        places.take(UNNAMED)
    assert full.value.code is ErrorCode.SERVER_FULL
    places.release("alice")
    places.take(alice)
    for name in ("alice", "bob", "bob"):
        places.release(name)
    assert places.taken == 0
    assert vars(places)["_taken"] == {}


def test_names_in_metrics_are_bounded() -> None:
    """Names come and go with the file; the series of a server do not grow for ever."""
    metrics = Metrics()
    for number in range(MAX_CALLERS + 50):
        metrics.run_ended(End("completed"), None, caller=f"n{number}")
    text = metrics.text().decode()
    runs = [line for line in text.splitlines() if line.startswith("dripline_caller_runs_total{")]
    assert len(runs) == MAX_CALLERS + 1
    assert 'dripline_caller_runs_total{caller="(others)",status="completed"} 50.0' in runs


def test_a_run_in_redis_that_an_older_version_described() -> None:
    """It belongs to whoever has no name."""
    assert About.of_json(b'{"model": "m", "owner": "p"}').caller == ""
    about = About("m", "p", caller="alice")
    assert About.of_json(about.to_json()) == about


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(known_tokens, "PERIOD", 0.0)
    return tmp_path / "tokens.toml"


def rewrite(path: Path, change: Callable[[str], str | None]) -> list[str]:
    """Change the file's text, as an editor would; None removes the file. Return what it was."""
    before = [path.read_text()] if path.exists() else []
    after = change("".join(before))
    path.unlink() if after is None else path.write_text(after)
    return before


class Looks:
    """Looks at a file that is changed between them."""

    def __init__(self, tokens: KnownTokens, monkeypatch: pytest.MonkeyPatch) -> None:
        self._tokens = tokens
        self._patch = monkeypatch
        self._count = 0
        real = known_tokens._content

        def counted(path: Path) -> str | BadTokenFile:
            self._count += 1
            return real(path)

        monkeypatch.setattr(known_tokens, "_content", counted)

    async def look(self, times: int) -> None:
        """Wait until that many looks that begin now have been acted on."""
        until = self._count + times + 1
        while self._count < until:  # noqa: ASYNC110
            await asyncio.sleep(0)


@asynccontextmanager
async def watched(tokens: KnownTokens, patch: pytest.MonkeyPatch) -> AsyncIterator[Looks]:
    looks = Looks(tokens, patch)
    watching = asyncio.create_task(tokens.watch())
    try:
        yield looks
    finally:
        watching.cancel()
        await asyncio.wait({watching})


async def test_a_changed_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """New names are known, removed ones are told of; a new token of a name is no removal."""
    old = token_file.add(path, Caller("alice")).encode()
    token_file.add(path, Caller("bob"))
    tokens = KnownTokens(Settings(tokens=str(path)))
    gone: list[str] = []
    tokens.when_removed(gone.append)
    async with watched(tokens, monkeypatch) as looks:
        new = token_file.new_token().encode()
        rewrite(path, lambda text: text.replace(token_file.hash_of(old), token_file.hash_of(new)))
        token_file.remove(path, "bob")
        token_file.add(path, Caller("eve", max_runs=3))
        await looks.look(3)
        assert tokens.caller_of(old) is None
        assert tokens.caller_of(new) == Caller("alice", allow_model_changes=False)
        assert gone == ["bob"]
        assert [tokens.knows(name) for name in ("alice", "bob", "eve", "")] == [1, 0, 1, 1]


BROKEN = {
    "no TOML": "[alice",
    "a wrong limit": "[alice]\nmax_runs = 0\n",
    "missing": None,
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
async def test_a_file_that_breaks(
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    text: str | None,
) -> None:
    """What was known stays, one error says why, and the file is read again once it is mended."""
    caplog.set_level(logging.INFO)
    token = token_file.add(path, Caller("alice")).encode()
    (good,) = rewrite(path, lambda text: text)
    tokens = KnownTokens(Settings(tokens=str(path)))
    gone: list[str] = []
    tokens.when_removed(gone.append)
    async with watched(tokens, monkeypatch) as looks:
        rewrite(path, lambda _: text)
        await looks.look(6)
        assert tokens.caller_of(token)
        (error,) = [record for record in caplog.records if record.levelname == "ERROR"]
        assert f"--tokens: {path}: " in error.getMessage()
        rewrite(path, lambda _: f"# mended\n{good}")
        bob = token_file.add(path, Caller("bob")).encode()
        await looks.look(3)
        assert tokens.caller_of(bob)
        assert tokens.caller_of(token)
        assert gone == []


async def test_a_file_that_is_being_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A half of it that is seen once removes nobody: the second look finds the whole."""
    token_file.add(path, Caller("alice"))
    (whole,) = rewrite(path, lambda text: text)
    tokens = KnownTokens(Settings(tokens=str(path)))
    gone: list[str] = []
    tokens.when_removed(gone.append)
    seen: Iterator[str] = iter(["", whole, "", whole, whole[:50], "", ""])
    enough = asyncio.Event()
    loop = asyncio.get_running_loop()

    def content(_: Path) -> str:
        try:
            return next(seen)
        except StopIteration:
            loop.call_soon_threadsafe(enough.set)
            return ""

    monkeypatch.setattr(known_tokens, "_content", content)
    watching = asyncio.create_task(tokens.watch())
    told: list[int] = []
    tokens.when_removed(lambda _: told.append(len(list(seen))))
    await enough.wait()
    watching.cancel()
    await asyncio.wait({watching})
    assert gone == ["alice"]
    assert told == [0]  # after both of the last two, and not before


async def test_a_fault_does_not_end_the_watch(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged, and the next change is seen."""
    token_file.add(path, Caller("alice"))
    tokens = KnownTokens(Settings(tokens=str(path)))

    def fail(_: str) -> None:
        raise ZeroDivisionError

    tokens.when_removed(fail)
    async with watched(tokens, monkeypatch) as looks:
        token_file.remove(path, "alice")
        await looks.look(3)
        assert "a fault in dripline" in caplog.text
        token = token_file.add(path, Caller("bob")).encode()
        await looks.look(3)
        assert tokens.caller_of(token)


def test_an_empty_file_lets_nobody_in(path: Path) -> None:
    """But DRIPLINE_TOKEN; and no token at all is nobody's, whatever hash the file has."""
    empty = sha256(b"").hexdigest()
    for text in ("", f"[oops]\nsha256 = '{empty}'\n"):
        path.write_text(text)
        main = "correct-horse-battery-staple"
        for token in ("", main):
            tokens = KnownTokens(Settings(tokens=str(path), token=token))
            assert tokens.needed
            assert tokens.caller_of(b"") is None
            assert tokens.caller_of(b"wrong") is None
            assert tokens.caller_of(main.encode()) == (UNNAMED if token else None)


def test_a_named_token_that_is_the_server_s_too(path: Path) -> None:
    """Its limits hold: a mistake in the file gives nobody more than it says."""
    token = token_file.add(path, Caller("alice", max_runs=1))
    tokens = KnownTokens(Settings(tokens=str(path), token=token))
    found = tokens.caller_of(token.encode())
    assert found
    assert found.max_runs == 1


def test_without_any_token_all_are_one_caller() -> None:
    """Whatever they send."""
    tokens = KnownTokens(Settings())
    assert not tokens.needed
    assert tokens.caller_of(b"") is tokens.caller_of(b"anything") is UNNAMED


def test_a_bad_file_at_start(path: Path) -> None:
    """The option, the file, the line and the field are named."""
    path.write_text("[alice]\nsha256 = ''\n")
    with pytest.raises(BadSetting, match=f"^--tokens: {path}: line 2: alice.sha256: "):
        KnownTokens(Settings(tokens=str(path)))
