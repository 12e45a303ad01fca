"""The endpoints that tell about models, copy and delete them; and those about Ollama itself."""

from __future__ import annotations

from typing import cast

from aiohttp import web

from dripline.testing.fake_ollama import wire
from dripline.testing.fake_ollama.api_types import COPY_REQUEST, DELETE_REQUEST, SHOW_REQUEST
from dripline.testing.fake_ollama.go.go_writing import NANOSECONDS, go_json, go_json_exact, quoted
from dripline.testing.fake_ollama.json_value import JsonValue
from dripline.testing.fake_ollama.names import (
    BadName,
    ModelName,
    NoName,
    TwoSources,
    read_pull_ref,
)
from dripline.testing.fake_ollama.openai_api.completions_door import OpenAiDoor
from dripline.testing.fake_ollama.request import ApiError
from dripline.testing.fake_ollama.stored_models import StoredModel
from dripline.testing.fake_ollama.visit import CLOUD_OFF, Visit

DETAILS_UNAVAILABLE = "remote model details are unavailable"


async def root(visit: Visit) -> web.StreamResponse:
    """`GET /`."""
    return await visit.respond(b"Ollama is running", "text/plain; charset=utf-8")


async def version(visit: Visit) -> web.StreamResponse:
    """`GET /api/version`."""
    return await visit.json({"version": visit.state.release.version})


async def tags(visit: Visit) -> web.StreamResponse:
    """`GET /api/tags`: every model there is, the newest first."""
    full = visit.state.release.lists_capabilities
    models = [model.listed(with_capabilities=full) for model in visit.state.shelf.all()]
    return await visit.json({"models": cast("JsonValue", models)})


async def ps(visit: Visit) -> web.StreamResponse:
    """`GET /api/ps`: the models in memory, and those on the way there."""
    return await visit.json(
        {"models": visit.state.memory.shown(loading=visit.state.release.shows_loading)}
    )


async def show(visit: Visit) -> web.StreamResponse:
    """`POST /api/show`: one model."""
    fields = visit.fields(SHOW_REQUEST)
    name = str(fields.get("model") or fields.get("name") or "")
    model = _shown(visit, name)
    return await visit.respond(go_json_exact(model.shown(fields)), chunked=True)


def _shown(visit: Visit, name: str) -> StoredModel:
    if not name:
        raise ApiError(400, "model is required")
    ref = visit.ref(name, ApiError(400, "model is required"))
    visit.local(ref, unavailable=DETAILS_UNAVAILABLE)
    model = visit.stored(ref)
    if model is None:
        raise ApiError(404, f"model '{ref.name.shortest}' not found")
    if model.remote:
        raise ApiError(403, f"{CLOUD_OFF}: {DETAILS_UNAVAILABLE}")
    return model


async def openai_models(visit: Visit) -> web.StreamResponse:
    """`GET /v1/models`."""
    visit.door = OpenAiDoor()
    models: list[JsonValue] = [
        _openai_model(model, model.name.shortest) for model in visit.state.shelf.all()
    ]
    body = go_json({"object": "list", "data": models or None})
    return await visit.respond(body + b"\n", wire.PLAIN_JSON)


async def openai_model(visit: Visit) -> web.StreamResponse:
    """`GET /v1/models/:model`."""
    visit.door = OpenAiDoor()
    try:
        model = _shown(visit, visit.param)
    except ApiError as error:
        if error.status != 403:
            raise
        raise ApiError(error.status, error.message, native=True) from error
    body = go_json(_openai_model(model, visit.param))
    return await visit.respond(body + b"\n", wire.PLAIN_JSON)


def _openai_model(model: StoredModel, name: str) -> JsonValue:
    return {
        "id": name,
        "object": "model",
        "created": model.modified_ns // NANOSECONDS,
        "owned_by": ModelName.parse(name).namespace,
    }


async def copy(visit: Visit) -> web.StreamResponse:
    """`POST /api/copy`."""
    fields = visit.fields(COPY_REQUEST)
    names = []
    for role in ("source", "destination"):
        given = str(fields.get(role) or "")
        if not (name := ModelName.parse(given)).valid:
            raise ApiError(400, f"{role} {quoted(given)} is invalid")
        names.append(name)
    source, destination = names
    model = visit.state.shelf.get(source)
    if model is None:
        raise ApiError(404, f"model {quoted(str(fields.get('source') or ''))} not found")
    if source.key != destination.key:
        visit.state.shelf.put(destination, model)
    return await visit.respond(b"", "")


async def delete(visit: Visit) -> web.StreamResponse:
    """`DELETE /api/delete`."""
    fields = visit.fields(DELETE_REQUEST)
    given = str(fields.get("model") or fields.get("name") or "")
    try:
        name = read_pull_ref(given)
    except (NoName, TwoSources) as error:
        raise ApiError(400, str(error)) from error
    except BadName as error:
        raise ApiError(400, f"name {quoted(given)} is invalid") from error
    if not visit.state.shelf.remove(name):
        raise ApiError(404, f"model '{given}' not found")
    return await visit.respond(b"", "")


async def status(visit: Visit) -> web.StreamResponse:
    """`GET /api/status`: the cloud is switched off."""
    return await visit.json({"cloud": {"disabled": True, "source": "env"}})


async def me(_: Visit) -> web.StreamResponse:
    """`POST /api/me`: whose account it is cannot be asked."""
    raise ApiError(503, "account unavailable")


async def sign_out(_: Visit) -> web.StreamResponse:
    """`POST /api/signout`."""
    raise ApiError(500, "there was an error signing out")


async def web_search(visit: Visit) -> web.StreamResponse:
    """`POST /api/experimental/web_search`."""
    return await _cloud_only(visit, "web search is unavailable")


async def web_fetch(visit: Visit) -> web.StreamResponse:
    """`POST /api/experimental/web_fetch`."""
    return await _cloud_only(visit, "web fetch is unavailable")


async def _cloud_only(visit: Visit, unavailable: str) -> web.StreamResponse:
    if not visit.data.strip():
        raise ApiError(400, "missing request body")
    raise ApiError(403, f"{CLOUD_OFF}: {unavailable}")


async def recommendations(visit: Visit) -> web.StreamResponse:
    """`GET /api/experimental/model-recommendations`: the models that there are."""
    found: list[JsonValue] = [
        {
            "model": model.name.shortest,
            "description": f"A scripted model of the family {model.details.family}",
            "context_length": model.details.context_length,
            "vram_bytes": model.details.size,
        }
        for model in visit.state.shelf.all()
    ]
    return await visit.json({"recommendations": found})
