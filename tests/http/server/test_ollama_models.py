"""Models got, deleted, unloaded and described through the server, by client and command."""

from __future__ import annotations

import asyncio

import pytest

from dripline import End, RequestRefused, RunFailed, Status
from dripline.testing import Fault, Pace, Script
from dripline_server.upstream.pulls import PullProgress, PullReader
from tests.support.gated_clock import GatedClock
from tests.support.processes import run
from tests.support.stack import Stack, stack

HELD = Pace(first_token=1, tokens_per_second=1)
NEW = Script("New.", HELD)


async def test_a_model_is_got_deleted_and_unloaded() -> None:
    """A pull tells its bytes and ends once; then the model is there, until it is deleted."""
    async with stack({"old": Script("Old.")}, registry={"new": Script("New.")}) as s:
        async with s.client.pull("new") as stream:
            events = [event async for event in stream]
        statuses = [event for event in events if isinstance(event, Status)]
        assert statuses[0].phase == "pulling"
        assert all((one.completed or 0) <= (one.total or 0) for one in statuses)
        assert isinstance(events[-1], End)
        assert (await s.client.ask("Hi", model="new")).text == "New."
        (new,) = [model for model in await s.client.models() if model.name == "new:latest"]
        assert (new.loaded, new.context_length) == (True, 4096)
        assert new.loaded_until > 0
        await s.client.unload_model("new")
        assert not any(model.loaded for model in await s.client.models())
        await s.client.delete_model("new")
        assert [model.name for model in await s.client.models()] == ["old:latest"]
        with pytest.raises(RequestRefused, match="model_not_found"):
            await s.client.delete_model("new")


async def test_a_pull_is_a_run() -> None:
    """Its reader may leave and come back; stopped, its request to Ollama ends, and it can go on."""
    clock = GatedClock()
    async with stack({"old": Script("")}, clock=clock, registry={"new": NEW}) as s:
        async with s.client.pull("new", on_leave="detach") as stream:
            clock.let_go(3)
            while not isinstance(await anext(stream), Status):
                pass
        run, last = stream.run_id, stream.last_event_id
        async with s.client.attach(run, after=last) as stream:
            await s.client.stop(run)
            events = [event async for event in stream]
        assert events[-1] == End("cancelled", usage=events[-1].usage)  # type: ignore[union-attr]
        (pulled,) = [one for one in s.ollama.requests if one.path == "/api/pull"]
        await asyncio.wait_for(pulled.wait_ended(), 30)
        clock.let_go(1000)
        async with s.client.pull("new") as stream:
            assert isinstance([event async for event in stream][-1], End)
        assert len(await s.client.models()) == 2


async def test_pulls_fail_with_a_sentence() -> None:
    """An unknown model, and a fault in the middle: each in its own words."""
    async with stack({"old": Script("")}, registry={"new": Script("New.")}) as s:
        assert await failure(s, "nothing") == (
            "model_not_found",
            "There is no model 'nothing' to get. Look its name up at https://ollama.com/search.",
        )
        s.ollama.faults["/api/pull"] = Fault.cut(at_token=2)
        assert (await failure(s, "new"))[0] == "upstream_cut"
        s.ollama.faults["/api/pull"] = Fault.garbage(at_token=2)
        assert (await failure(s, "new"))[0] == "upstream_garbage"


async def failure(s: Stack, name: str) -> tuple[str, str]:
    """The error with which a pull ends."""
    with pytest.raises(RunFailed) as failed:
        async with s.client.pull(name) as stream:
            async for _ in stream:
                pass
    return failed.value.code, failed.value.message


@pytest.mark.parametrize(
    ("settings", "allowed"),
    [({}, True), ({"token": "x" * 20}, False), ({"allow_model_changes": False}, False)],
)
async def test_changes_are_allowed_on_this_machine_alone(
    settings: dict[str, object], allowed: bool
) -> None:
    """Without a token; everybody may look, and nobody is told more than that."""
    async with stack({"old": Script("")}, **settings) as s:
        headers = {"Authorization": f"Bearer {settings.get('token', '')}"}
        body = {"model": "old"}
        async with s.http.post(f"{s.url}/models/show", json=body, headers=headers) as shown:
            assert (await shown.json())["family"] == "llama"
        async with s.http.get(s.url, headers=headers) as service:
            assert (await service.json())["model_changes"] is allowed
        for path in ("pull", "delete"):
            async with s.http.post(f"{s.url}/models/{path}", json=body, headers=headers) as answer:
                assert answer.status == (200 if allowed else 403)
                assert allowed or "--allow-model-changes" in await answer.text()


@pytest.mark.parametrize(
    ("body", "field"),
    [({}, "model"), ({"model": ""}, "model"), ({"model": "x", "insecure": True}, "insecure")],
)
async def test_wrong_fields_are_named(body: dict[str, object], field: str) -> None:
    """In each of the requests."""
    async with stack({}) as s:
        for path in ("pull", "delete", "unload", "show"):
            async with s.http.post(f"{s.url}/models/{path}", json=body) as answer:
                assert answer.status == 400
                assert (await answer.json())["error"]["message"].startswith(f"{field}: ")


LINES = [
    b'{"status":"pulling manifest"}\n',
    b'{"status":"pulling a","digest":"a","total":100,"completed":40}\n',
    b'{"status":"pulling b","digest":"b","total":10}\n',
    b'{"status":"verifying sha256 digest"}\n',
    b'{"status":"success"}\n',
]


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_progress_is_summed_over_files(size: int) -> None:
    """However the bytes are split."""
    reader = PullReader("m", 1000)
    data = b"".join(LINES)
    for start in range(0, len(data), size):
        reader.feed(data[start : start + size])
    reader.end()
    assert reader.progress == PullProgress("pulling", 40, 110)
    assert reader.done
    assert reader.failure is None


async def test_the_commands() -> None:
    """`pull` prints plain lines where there is no terminal; `ps` and `rm` say what there is."""
    async with stack({"old": Script("Old.")}, registry={"new": Script("New.")}) as s:
        server = ("--server", s.url)
        code, out, err = await run("dripline", "pull", "new", *server)
        assert (code, err) == (0, "")
        assert out.startswith("pulling new\n")
        assert out.endswith("new is there.\n")
        assert await run("dripline", "ps", *server) == (0, "", "")
        await s.client.ask("Hi", model="new")
        assert (await run("dripline", "ps", *server))[1].startswith("new:latest ")
        assert await run("dripline", "rm", "new", *server) == (0, "new is deleted.\n", "")
        code, _, err = await run("dripline", "rm", "new", *server)
        assert code == 2
        assert "model_not_found" in err
