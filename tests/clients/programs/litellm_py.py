"""`litellm`, which speaks `/api/chat` as "ollama_chat/..."."""

import json

import litellm
from operations import QUESTION, SCHEMA, STORY, TOOL, URL, fits, is_vector, main, operation
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


@operation("errors")
def errors() -> None:
    refused(Exception, lambda: ask("nobody"), "not found")
    refused(Exception, lambda: ask("busy"), "server busy")


main()
