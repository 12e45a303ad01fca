"""`litellm`, which speaks `/api/chat` as "ollama_chat/..."."""

import json

import litellm
from operations import QUESTION, SCHEMA, STORY, TOLD, TOOL, URL, fits, is_vector, main, operation
from operations import refused, same

HI = [{"role": "user", "content": "Tell me a story"}]
ASKED = [{"role": "user", "content": QUESTION}]
litellm.suppress_debug_info = True


def ask(model: str, messages: list = HI, **more: object):
    given = {"api_base": URL, "messages": messages, "num_retries": 0, **more}
    return litellm.completion(model=f"ollama_chat/{model}", **given)


@operation("whole")
def whole() -> None:
    same(ask("story").choices[0].message.content, STORY)


@operation("stream")
def stream() -> None:
    chunks = ask("story", stream=True)
    same("".join(chunk.choices[0].delta.content or "" for chunk in chunks), STORY)


@operation("tools")
def tools() -> None:
    (call,) = ask("caller", ASKED, tools=[TOOL]).choices[0].message.tool_calls
    same(json.loads(call.function.arguments), {"city": "Oslo"})


@operation("streamed tools")
def streamed_tools() -> None:
    deltas = [chunk.choices[0].delta for chunk in ask("caller", ASKED, tools=[TOOL], stream=True)]
    calls = [call for delta in deltas for call in delta.tool_calls or ()]
    same(json.loads("".join(call.function.arguments or "" for call in calls)), {"city": "Oslo"})


@operation("thinking")
def thinking() -> None:
    message = ask("thinker", reasoning_effort="low").choices[0].message
    same(message.content, STORY)


@operation("structured")
def structured() -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "person", "schema": SCHEMA}}
    fits(ask("demo", response_format=wanted).choices[0].message.content)


@operation("embeddings")
def embeddings() -> None:
    data = litellm.embedding(model="ollama/vectors", input=["one"], api_base=URL).data
    is_vector(data[0]["embedding"])


@operation("tool results")
def tool_results() -> None:
    message = ask("caller", ASKED, tools=[TOOL]).choices[0].message
    result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "rain"}
    last = ask("caller", [*ASKED, message.model_dump(), result], tools=[TOOL])
    same(last.choices[0].message.content, TOLD)


@operation("async")
async def asynchronous() -> None:
    asked = {"api_base": URL, "messages": HI, "stream": True}
    chunks = await litellm.acompletion(model="ollama_chat/story", **asked)
    text = [chunk.choices[0].delta.content or "" async for chunk in chunks]
    same("".join(text), STORY)


@operation("generate")
def generate() -> None:
    answer = litellm.completion(model="ollama/story", api_base=URL, messages=HI)
    same(answer.choices[0].message.content, STORY)


@operation("usage")
def usage() -> None:
    assert ask("story").usage.completion_tokens


@operation("limits")
def limits() -> None:
    same(ask("story", max_tokens=2).choices[0].finish_reason, "length")
    same(ask("story", stop=["fox"]).choices[0].message.content, STORY[:-4])


@operation("OpenAI's API")
def by_openai() -> None:
    given = {"api_base": f"{URL}/v1", "api_key": "x", "messages": HI}
    same(litellm.completion(model="openai/story", **given).choices[0].message.content, STORY)
    chunks = litellm.completion(model="openai/story", stream=True, **given)
    same("".join(chunk.choices[0].delta.content or "" for chunk in chunks), STORY)
    called = litellm.completion(model="openai/caller", tools=[TOOL], **{**given, "messages": ASKED})
    (call,) = called.choices[0].message.tool_calls
    same(json.loads(call.function.arguments), {"city": "Oslo"})


@operation("no such model")
def no_such_model() -> None:
    refused(Exception, lambda: ask("nobody"), "not found")


@operation("busy")
def busy() -> None:
    refused(Exception, lambda: ask("busy"), "server busy")


@operation("cut")
def cut() -> None:
    refused(Exception, lambda: list(ask("cut", stream=True)))


@operation("abort")
def abort() -> None:
    chunks = ask("slow", stream=True)
    next(iter(chunks))
    chunks.completion_stream.close()


main()
