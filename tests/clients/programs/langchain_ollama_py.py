"""`langchain-ollama`."""

from langchain_core.messages import HumanMessage, ToolMessage
from langchain_ollama import ChatOllama, OllamaEmbeddings, OllamaLLM
from operations import (
    PICTURE,
    QUESTION,
    SCHEMA,
    STORY,
    THOUGHT,
    TOLD,
    TOOL,
    URL,
    is_vector,
    main,
    operation,
    refused,
    same,
    saw,
)


def chat(model: str, **more: object) -> ChatOllama:
    return ChatOllama(model=model, base_url=URL, **more)


@operation("whole")
def whole() -> None:
    same(chat("story").invoke("Go").content, STORY)


@operation("stream")
def stream() -> None:
    same("".join(chunk.content for chunk in chat("story").stream("Go")), STORY)


@operation("tools")
def tools() -> None:
    bound = chat("caller").bind_tools([TOOL])
    (call,) = bound.invoke([HumanMessage(QUESTION)]).tool_calls
    same((call["name"], call["args"]), ("get_weather", {"city": "Oslo"}))


@operation("streamed tools")
def streamed_tools() -> None:
    chunks = list(chat("caller").bind_tools([TOOL]).stream(QUESTION))
    same([c["args"] for chunk in chunks for c in chunk.tool_calls], [{"city": "Oslo"}])


@operation("thinking")
def thinking() -> None:
    answer = chat("thinker", reasoning=True).invoke("Go")
    same((answer.additional_kwargs["reasoning_content"], answer.content), (THOUGHT, STORY))


@operation("structured")
def structured() -> None:
    wanted = {"title": "person", "description": "A person", **SCHEMA}
    value = chat("demo").with_structured_output(wanted, method="json_schema").invoke("Go")
    same(sorted(value), ["age", "name", "tags"])


@operation("embeddings")
def embeddings() -> None:
    for vector in OllamaEmbeddings(model="vectors", base_url=URL).embed_documents(["one", "two"]):
        is_vector(vector)


@operation("tool results")
def tool_results() -> None:
    bound = chat("caller").bind_tools([TOOL])
    answer = bound.invoke([HumanMessage(QUESTION)])
    result = ToolMessage("rain", tool_call_id=answer.tool_calls[0]["id"])
    same(bound.invoke([HumanMessage(QUESTION), answer, result]).content, TOLD)


@operation("streamed thinking")
def streamed_thinking() -> None:
    chunks = list(chat("thinker", reasoning=True).stream("Go"))
    thought = [chunk.additional_kwargs.get("reasoning_content", "") for chunk in chunks]
    same("".join(thought), THOUGHT)


@operation("async")
async def asynchronous() -> None:
    same("".join([chunk.content async for chunk in chat("story").astream("Go")]), STORY)


@operation("generate")
def generate() -> None:
    same(OllamaLLM(model="story", base_url=URL).invoke("Go"), STORY)


@operation("streamed generate")
def streamed_generate() -> None:
    same("".join(OllamaLLM(model="story", base_url=URL).stream("Go")), STORY)


@operation("pictures")
def pictures() -> None:
    picture = {"type": "image_url", "image_url": f"data:image/png;base64,{PICTURE}"}
    said = [{"type": "text", "text": "What is it?"}, picture]
    saw(chat("demo").invoke([HumanMessage(said)]).content)


@operation("usage")
def usage() -> None:
    assert chat("story").invoke("Go").usage_metadata["output_tokens"]


@operation("limits")
def limits() -> None:
    answer = chat("story", num_predict=2).invoke("Go")
    same(answer.response_metadata["done_reason"], "length")


@operation("no such model")
def no_such_model() -> None:
    refused(Exception, lambda: chat("nobody").invoke("Go"), "not found")


@operation("bad request")
def bad_request() -> None:
    refused(Exception, lambda: chat("plain").bind_tools([TOOL]).invoke("Go"), "support tools")


@operation("busy")
def busy() -> None:
    refused(Exception, lambda: chat("busy").invoke("Go"), "server busy")


@operation("cut")
def cut() -> None:
    refused(Exception, lambda: list(chat("cut").stream("Go")))


@operation("abort")
def abort() -> None:
    chunks = chat("slow").stream("Go")
    next(chunks)
    chunks.close()


main()
