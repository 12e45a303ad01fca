"""What the server says of itself, of Ollama, and of the models."""

from __future__ import annotations

import gzip

import aiohttp
import pytest
from multidict import CIMultiDictProxy
from yarl import URL

from dripline import ChatClient, ModelInfo, RequestRefused
from dripline.testing import FakeOllama, Pace, Reply, Script
from dripline_server.app import serve
from dripline_server.settings import Settings
from dripline_server.upstream import upstreams
from dripline_server.upstream.known_models import MAX_SHOWS
from dripline_server.upstream.ollama import Ollama
from dripline_server.upstream.ollama_lists import Shown
from tests.support.free_port import free_port
from tests.support.stack import stack, user
from tests.support.usual_ollama import move_usual_ollama


async def test_health_follows_ollama() -> None:
    """Healthy while Ollama answers, degraded with a reason when it does not."""
    async with stack(Script()) as s:
        response = await s.http.get(f"{s.url}/health")
        assert response.status == 200
        health = await response.json()
        assert health["status"] == "healthy"
        assert health["ollama"] == "connected"
        await s.ollama.close()
        response = await s.http.get(f"{s.url}/health")
        assert response.status == 503
        health = await response.json()
        assert health["status"] == "degraded"
        assert health["ollama"] == "disconnected"
        assert "No Ollama answers" in health["message"]


async def test_models_are_listed_with_what_they_can_do() -> None:
    """Name, size, capabilities, and whether the model is in memory now."""
    scripts = {"plain": Script(), "deep": Script(Reply("x", thinking="y"), pace=Pace(cold_load=0))}
    async with stack(scripts) as s:
        await s.client.ask("Hi", model="plain")
        models = {model.name: model for model in await s.client.models()}
        assert set(models) == {"plain:latest", "deep:latest"}
        deep = models["deep:latest"]
        assert deep == ModelInfo("deep:latest", deep.size, ("completion", "thinking"), loaded=False)
        assert deep.size > 0
        assert models["plain:latest"].loaded
        listed = await (await s.http.get(f"{s.url}/models")).json()
        assert [model["family"] for model in listed["models"]] == ["llama", "llama"]
        await s.ollama.close()
        with pytest.raises(RequestRefused, match="ollama_unreachable"):
            await s.client.models()


class CountingOllama(Ollama):
    """Counts how many models it asks about at once."""

    asking = most = 0

    async def _show(self, name: str) -> Shown:
        self.asking += 1
        self.most = max(self.most, self.asking)
        try:
            return await super()._show(name)
        finally:
            self.asking -= 1


async def test_many_models_are_asked_about_a_few_at_once() -> None:
    """Not one after the other, and not all."""
    names = [f"m{n}:latest" for n in range(3 * MAX_SHOWS)]
    # The list of 0.25 does not say what models can do.
    async with FakeOllama({name: Script() for name in names}, version="0.25.0") as fake:
        upstream = CountingOllama(fake.url, stall_timeout=5, max_line=1000)
        try:
            models = await upstream.models()
        finally:
            await upstream.close()
    assert [model.name for model in models] == names
    assert all(model.capabilities == ["completion"] for model in models)
    assert upstream.most == MAX_SHOWS


async def test_the_root_is_a_page_for_browsers_and_json_for_programs() -> None:
    """One address, by `Accept`."""
    async with stack(Script()) as s:
        page = await s.http.get(s.url, headers={"Accept": "text/html,*/*;q=0.8"})
        assert page.content_type == "text/html"
        assert "default-src 'none'" in page.headers["Content-Security-Policy"]
        service = await (await s.http.get(s.url)).json()
        assert service["service"] == "dripline"
        assert service["status"] == "running"
        assert service["demo"] == ""
        assert service["max_body"] == Settings().max_body
        script = await s.http.get(f"{s.url}/static/net/sse.js")
        assert script.status == 200
        assert "javascript" in script.content_type
        assert script.headers["X-Content-Type-Options"] == "nosniff"


async def test_a_checkout_serves_its_files_compressed_and_fresh() -> None:
    """Each file as it is now, packed where the client takes that; what is not there is not kept."""
    async with stack(Script()) as s, aiohttp.ClientSession(auto_decompress=False) as http:

        async def get(name: str, **headers: str) -> tuple[int, CIMultiDictProxy[str], bytes]:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            async with http.get(f"{s.url}/static/{name}", headers=named) as response:
                return response.status, response.headers, await response.read()

        _, about, packed = await get("net/sse.js", Accept_Encoding="gzip")
        _, about_plain, plain = await get("net/sse.js", Accept_Encoding="identity")
        assert gzip.decompress(packed) == plain
        assert "Content-Encoding" not in about_plain
        assert about["Cache-Control"] == about_plain["Cache-Control"] == "no-cache"
        assert about["Vary"] == about_plain["Vary"] == "Accept-Encoding"
        again, _, body = await get("net/sse.js", If_None_Match=about["ETag"])
        assert (again, body) == (304, b"")
        status, _, body = await get("net/sse.js", Range="bytes=3-9")
        assert (status, body) == (206, plain[3:10])
        missing, about, _ = await get("main-2Y5JCSTN.js")
        assert (missing, about["Cache-Control"]) == (404, "no-cache")


async def test_the_fake_stands_in_only_where_no_address_was_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing answers at the usual address: the demo model does, and everybody is told."""
    usual = move_usual_ollama(monkeypatch)
    async with serve(Settings(port=0)) as server, stack(Script()) as other:
        assert usual in server.state.demo
        async with other.http.get(f"{server.url}/health") as response:
            assert response.status == 200
            health = await response.json()
        assert (health["status"], health["ollama"]) == ("demo", "disconnected")
        response = await other.http.post(f"{server.url}/chat", json={"messages": user("Hi")})
        body = await response.text()
        assert '"model":"demo"' in body
        assert '"status":"completed"' in body
        service = await (await other.http.get(server.url)).json()
        assert service["model"] == "demo"
        assert "built-in fake" in service["demo"]
    nowhere = "http://127.0.0.1:1"
    for settings in (Settings(port=0, ollama=nowhere), Settings(port=0, ollama_host=nowhere)):
        async with serve(settings) as server:
            assert server.state.demo == ""


async def test_the_fake_gives_way_without_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    """As soon as an Ollama answers at the usual address, chats go there."""
    monkeypatch.setattr(upstreams, "LOOK_EVERY", 0.01)
    usual = move_usual_ollama(monkeypatch)
    async with serve(Settings(port=0)) as server, ChatClient(server.url) as client:
        assert "demo model" in (await client.ask("Hi")).text
        async with FakeOllama({"real": Script("I am here.")}, port=URL(usual).port or 0):
            await server.state.upstreams.found.wait()
            assert server.state.demo == ""
            assert [model.name for model in await client.models()] == ["real:latest"]
            assert (await client.ask("Hi", model="real")).text == "I am here."


async def test_a_named_ollama_may_come_later() -> None:
    """503 until it is there, from a server that runs all the while; then it answers."""
    port = free_port()
    settings = Settings(port=0, ollama_host=f"http://127.0.0.1:{port}", model="real")
    async with (
        serve(settings) as server,
        ChatClient(server.url) as client,
        aiohttp.ClientSession() as http,
    ):

        async def statuses() -> list[int]:
            return [
                (await http.get(f"{server.url}/{path}")).status
                for path in ("health", "readyz", "livez")
            ]

        assert await statuses() == [503, 503, 200]
        async with FakeOllama({"real": Script("I am here.")}, port=port):
            assert await statuses() == [200, 200, 200]
            assert (await client.ask("Hi")).text == "I am here."
