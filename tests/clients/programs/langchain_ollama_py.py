"""`langchain-ollama`."""

from langchain_core.messages import HumanMessage, ToolMessage
from langchain_ollama import ChatOllama, OllamaEmbeddings, OllamaLLM
from operations import (
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
)


def chat(model: str, **more: object) -> ChatOllama:
    return ChatOllama(model=model, base_url=URL, **more)


@operation("whole")
def whole() -> None:
    same(chat("story").invoke("Go").content, STORY)
    same(OllamaLLM(model="story", base_url=URL).invoke("Go"), STORY)


@operation("stream")
def stream() -> None:
    same("".join(chunk.content for chunk in chat("story").stream("Go")), STORY)


@operation("tools")
def tools() -> None:
    bound = chat("caller").bind_tools([TOOL])
    asked = HumanMessage(QUESTION)
    answer = bound.invoke([asked])
    (call,) = answer.tool_calls
    same((call["name"], call["args"]), ("get_weather", {"city": "Oslo"}))
    same(bound.invoke([asked, answer, ToolMessage("rain", tool_call_id=call["id"])]).content, TOLD)


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


@operation("errors")
def errors() -> None:
    refused(Exception, lambda: chat("nobody").invoke("Go"), "not found")
    refused(Exception, lambda: chat("busy").invoke("Go"), "server busy")


@operation("abort")
def abort() -> None:
    chunks = chat("slow").stream("Go")
    next(chunks)
    chunks.close()


main()
