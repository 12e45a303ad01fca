"""The fake answers as a real Ollama did: some 900 requests to one, and what it said.

`ollama-answers-0.33.jsonl` has all kinds of answers, with a small model behind them.
`ollama-refusals-0.33.jsonl` has what Ollama itself refuses, whatever the model; it was recorded
with an Ollama that was built from its source of 2026-08-21.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator

import aiohttp
import pytest

from dripline.testing import FakeOllama, ModelDetails, ReceivedChat, Reply, Script
from tests.support.ollama_answers import RealAnswer, ask, head, load, shape
from tests.support.programs import ROOT

ANSWERS = load(ROOT / "tests/data/ollama-answers-0.33.jsonl")

GEMMA = ModelDetails(
    "gemma3",
    "268.10M",
    "Q4_K_M",
    size=253_113_693,
    context_length=32_768,
    embedding_length=640,
    parameters={"stop": ["<end_of_turn>"]},
)
SAID = "Say hi to everyone who comes by, and wish them a very good day and a fine evening too. " * 3


def after_a_tool(request: ReceivedChat) -> str:
    """What a model says; after a tool its parser took everything, and nothing came."""
    return "" if request.messages[-1].role == "tool" else SAID


@pytest.fixture
async def real_models() -> AsyncIterator[FakeOllama]:
    """Models that can do what those of the real Ollama could."""
    models = {
        "demo-thinking": Script(Reply(SAID, thinking=SAID), details=GEMMA),
        "demo-tools": Script(after_a_tool, capabilities=["completion", "tools"], details=GEMMA),
        "demo": Script(SAID, details=GEMMA),
    }
    async with FakeOllama(models) as ollama:
        yield ollama


# What the fake leaves out, or has of its own, and why.
EXCEPTIONS = {
    "tools result": "the real model went on to say half a call",
    "chat np-2": "the real model went on until the client had enough",
}


def comparable(real: RealAnswer, answer: str) -> list[object]:
    """The answer without what is a machine's: digests inside texts, and a vocabulary."""
    text = re.sub(r"[0-9a-f]{64}", "DIGEST", answer)
    text = re.sub(r"request \(\d+ tokens\)", "request (N tokens)", text)
    text = re.sub(r"n_prompt_tokens\\\":\d+", "n_prompt_tokens: N", text)
    if real.path == "/api/show" and real.status == 200:
        text = re.sub(r"\.\.\. \(.* MB: tensors and vocabulary\).*", "", text)
    return shape(text)


@pytest.mark.parametrize("real", ANSWERS, ids=[answer.name for answer in ANSWERS])
async def test_an_answer_is_the_real_ones(real_models: FakeOllama, real: RealAnswer) -> None:
    """Status, headers, their order, fields, their order and types, and texts of errors."""
    async with aiohttp.ClientSession() as http:
        await prepare(http, real_models, real)
        status, headers, answer = await ask(http, real_models.url, real)
    assert status == real.status
    assert head(headers) == head(real.answer_headers)
    if real.name == "show verbose":
        known = re.findall(r'"([\w.]+)":', real.answer[:1000])
        assert re.findall(r'"([\w.]+)":', answer[:1000])[:2] == known[:2]
        return
    if real.name in EXCEPTIONS:
        assert json.loads(answer.splitlines()[-1])["done"] is True
        return
    assert comparable(real, answer) == comparable(real, real.answer)


REFUSALS = load(ROOT / "tests/data/ollama-refusals-0.33.jsonl")
KINDS = sorted({refusal.path.split("?")[0] for refusal in REFUSALS})
# Here the fake is kinder than Ollama without a network: what is there already can be pulled.
PULLED = '{"model":"demo:local"}'


@pytest.mark.parametrize("path", KINDS)
async def test_a_refusal_is_the_real_ones(real_models: FakeOllama, path: str) -> None:
    """Whatever is wrong with a request, its answer is the real one's to the byte."""
    async with aiohttp.ClientSession() as http:
        for real in REFUSALS:
            if real.path.split("?")[0] != path or real.name == f"POST /api/pull {PULLED}":
                continue
            status, headers, answer = await ask(http, real_models.url, real)
            assert (real.name, status) == (real.name, real.status)
            assert (real.name, head(headers)) == (real.name, head(real.answer_headers))
            assert (real.name, unnamed(answer)) == (real.name, unnamed(real.answer))


def unnamed(answer: str) -> str:
    """An answer without digests and ids."""
    return re.sub(r"req_[0-9a-f]{24}|[0-9a-f]{64}", "ID", answer)


BEFORE = {
    "delete": ["copy"],
    "delete2": ["create"],
    "blob head": ["blob post"],
}


async def prepare(http: aiohttp.ClientSession, ollama: FakeOllama, real: RealAnswer) -> None:
    """Send what an answer builds on."""
    for name in BEFORE.get(real.name, ()):
        (needed,) = (answer for answer in ANSWERS if answer.name == name)
        await ask(http, ollama.url, needed)
