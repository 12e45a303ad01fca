"""`ollama`."""

import ollama
from operations import QUESTION, SCHEMA, STORY, THOUGHT, TOLD, TOOL, URL, fits, is_vector
from operations import main, operation, refused, same

client = ollama.Client(URL)
HI = [{"role": "user", "content": "Tell me a story"}]
ASKED = [{"role": "user", "content": QUESTION}]


@operation("list")
def models() -> None:
    names = [model.model for model in client.list().models]
    assert "story:latest" in names
    assert "completion" in (client.show("story").capabilities or [])


@operation("whole")
def whole() -> None:
    same(client.chat("story", HI).message.content, STORY)
    same(client.generate("story", "Tell me a story").response, STORY)


@operation("stream")
def stream() -> None:
    same("".join(c.message.content or "" for c in client.chat("story", HI, stream=True)), STORY)
    same("".join(c.response for c in client.generate("story", "Go", stream=True)), STORY)


@operation("tools")
def tools() -> None:
    answer = client.chat("caller", ASKED, tools=[TOOL])
    (call,) = answer.message.tool_calls or ()
    same((call.function.name, call.function.arguments), ("get_weather", {"city": "Oslo"}))
    said = {"role": "tool", "tool_name": "get_weather", "content": "rain"}
    same(client.chat("caller", [*ASKED, answer.message, said], tools=[TOOL]).message.content, TOLD)


@operation("streamed tools")
def streamed_tools() -> None:
    chunks = client.chat("caller", ASKED, tools=[TOOL], stream=True)
    calls = [call for chunk in chunks for call in chunk.message.tool_calls or ()]
    same([call.function.arguments for call in calls], [{"city": "Oslo"}])


@operation("thinking")
def thinking() -> None:
    message = client.chat("thinker", HI, think=True).message
    same((message.thinking, message.content), (THOUGHT, STORY))
    same(client.chat("thinker", HI, think=False).message.thinking, None)


@operation("structured")
def structured() -> None:
    fits(client.chat("demo", HI, format=SCHEMA).message.content or "")


@operation("embeddings")
def embeddings() -> None:
    for vector in client.embed("vectors", ["one", "two"]).embeddings:
        is_vector(vector)
    is_vector(client.embeddings("vectors", "one").embedding)


@operation("errors")
def errors() -> None:
    refused(ollama.ResponseError, lambda: client.chat("nobody", HI), "not found", "404")
    refused(ollama.ResponseError, lambda: client.chat("busy", HI), "server busy")


@operation("abort")
def abort() -> None:
    with ollama.Client(URL) as leaving:
        stream = leaving.chat("slow", HI, stream=True)
        next(iter(stream))
        stream.close()


@operation("library")
def library() -> None:
    lines = list(client.pull("pulled", stream=True))
    same(lines[-1].status, "success")
    assert any(line.digest and line.total and line.completed for line in lines)
    client.create("derived", from_="story", system="Be brief")
    client.copy("derived", "copied")
    client.delete("derived")
    same(client.show("copied").model_dump().get("system", "Be brief"), "Be brief")
    client.push("copied")
    client.delete("copied")
    assert client.ps().models


main()
