"""`langchain-openai`."""

from langchain_core.messages import HumanMessage, ToolMessage
from langchain_openai import ChatOpenAI
from operations import PICTURE, QUESTION, SCHEMA, STORY, TOLD, TOOL, URL, main, operation
from operations import refused, same, saw


def chat(model: str, **more: object) -> ChatOpenAI:
    return ChatOpenAI(model=model, base_url=f"{URL}/v1", api_key="ollama", max_retries=0, **more)


@operation("whole")
def whole() -> None:
    same(chat("story").invoke("Go").content, STORY)


@operation("stream")
def stream() -> None:
    same("".join(chunk.content for chunk in chat("story").stream("Go")), STORY)


@operation("async")
async def asynchronous() -> None:
    same("".join([chunk.content async for chunk in chat("story").astream("Go")]), STORY)


@operation("usage")
def usage() -> None:
    *_, last = chat("story", stream_usage=True).stream("Go")
    chunks = list(chat("story", stream_usage=True).stream("Go"))
    assert sum((c.usage_metadata or {}).get("output_tokens", 0) for c in chunks), last


@operation("tools")
def tools() -> None:
    (call,) = chat("caller").bind_tools([TOOL]).invoke(QUESTION).tool_calls
    same((call["name"], call["args"]), ("get_weather", {"city": "Oslo"}))


@operation("tool results")
def tool_results() -> None:
    bound = chat("caller").bind_tools([TOOL])
    answer = bound.invoke([HumanMessage(QUESTION)])
    result = ToolMessage("rain", tool_call_id=answer.tool_calls[0]["id"])
    same(bound.invoke([HumanMessage(QUESTION), answer, result]).content, TOLD)


@operation("streamed tools")
def streamed_tools() -> None:
    whole = None
    for chunk in chat("caller").bind_tools([TOOL]).stream(QUESTION):
        whole = chunk if whole is None else whole + chunk
    same([call["args"] for call in whole.tool_calls], [{"city": "Oslo"}])


@operation("structured")
def structured() -> None:
    wanted = {"title": "person", "description": "A person", **SCHEMA}
    value = chat("demo").with_structured_output(wanted, method="json_schema").invoke("Go")
    same(sorted(value), ["age", "name", "tags"])


@operation("JSON")
def any_json() -> None:
    wanted = {"title": "said", "type": "object", "properties": {}}
    assert chat("demo").with_structured_output(wanted, method="json_mode").invoke("Go")


@operation("pictures")
def pictures() -> None:
    picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PICTURE}"}}
    said = [{"type": "text", "text": "What is it?"}, picture]
    saw(chat("demo").invoke([HumanMessage(said)]).content)


@operation("log probabilities")
def log_probabilities() -> None:
    answer = chat("story", logprobs=True, top_logprobs=2).invoke("Go")
    tokens = answer.response_metadata["logprobs"]["content"]
    same("".join(token["token"] for token in tokens), STORY)


@operation("limits")
def limits() -> None:
    same(chat("story", stop=["fox"]).invoke("Go").content, STORY[:-4])


@operation("no such model")
def no_such_model() -> None:
    refused(Exception, lambda: chat("nobody").invoke("Go"), "nobody")


@operation("bad request")
def bad_request() -> None:
    refused(Exception, lambda: chat("plain").bind_tools([TOOL]).invoke("Go"), "support tools")


@operation("busy")
def busy() -> None:
    refused(Exception, lambda: chat("busy").invoke("Go"), "busy")


@operation("cut")
def cut() -> None:
    refused(Exception, lambda: list(chat("cut").stream("Go")))


@operation("abort")
def abort() -> None:
    chunks = chat("slow").stream("Go")
    next(chunks)
    chunks.close()


main()
