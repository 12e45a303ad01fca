"""`--openai` with llama.cpp's own server; `make try-llama-cpp` brings it and a small model."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from dripline import ChatClient, TextMessage
from dripline_server import Settings, serve


async def test_llama_cpp(tmp_path: Path) -> None:
    """Its model is listed, answers with its tokens counted, and is stopped for real."""
    pytest.importorskip("xllamacpp")
    program = Path(__file__).with_name("llama_cpp_server.py")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(program), str(tmp_path / "model.gguf")),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout
    try:
        url = (await process.stdout.readline()).decode().strip()
        settings = Settings(port=0, openai=(f"{url}/v1",))
        async with serve(settings) as server, ChatClient(server.url) as client:
            (model,) = await client.models()
            few = {"num_predict": 8, "seed": 1}
            answer = await client.ask("Why is the sky blue?", model=model.name, options=few)
            assert answer.text
            assert answer.end
            assert (answer.end.usage.completion_tokens, answer.end.reason) == (8, "length")
            many = {"num_predict": 1500, "seed": 1}
            async with client.chat("Tell a story.", model=model.name, options=many) as stream:
                async for event in stream:
                    if isinstance(event, TextMessage):
                        break
            # Its only slot is free again, though it was asked for 1,500 tokens.
            async with asyncio.timeout(60):
                assert (await client.ask("Hi", model=model.name, options=few)).end
    finally:
        process.kill()
        await process.wait()
