"""sse-starlette's EventSourceResponse and the `ollama` package, in FastAPI."""

import json
import os
from contextlib import asynccontextmanager

import httpx
from fastapi import FastAPI
from ollama import AsyncClient
from pydantic import BaseModel
from sse_starlette import EventSourceResponse


@asynccontextmanager
async def lifespan(app: FastAPI):
    limits = httpx.Limits(max_connections=None)
    app.state.ollama = AsyncClient(host=os.environ["OLLAMA_HOST"], limits=limits)
    yield


app = FastAPI(lifespan=lifespan)


class ChatRequest(BaseModel):
    messages: list[dict]
    model: str


def event(number: int, kind: str, data: dict) -> dict:
    return {"id": str(number), "data": json.dumps({"type": kind, "data": data})}


async def events(request: ChatRequest):
    number = 1
    yield event(number, "start", {"agent": "ollama"})
    parts = await app.state.ollama.chat(model=request.model, messages=request.messages, stream=True)
    async for part in parts:
        number += 1
        yield event(number, "text_message", {"content": part.message.content})
    yield event(number + 1, "end", {})


@app.post("/chat")
async def chat(request: ChatRequest):
    return EventSourceResponse(events(request))
