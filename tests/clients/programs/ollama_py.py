"""`ollama`."""

import json

import ollama
from operations import PICTURE, QUESTION, SCHEMA, STORY, THOUGHT, TOLD, TOOL, URL, fits
from operations import is_vector, main, operation, refused, same, saw

client = ollama.Client(URL)
HI = [{"role": "user", "content": "Tell me a story"}]
ASKED = [{"role": "user", "content": QUESTION}]


def text_of(chunks) -> str:
    return "".join(chunk.message.content or "" for chunk in chunks)


@operation("list")
def models() -> None:
    assert "story:latest" in [model.model for model in client.list().models]


@operation("show")
def show() -> None:
    told = client.show("story")
    assert "completion" in (told.capabilities or [])
    assert told.modelinfo and told.details


@operation("whole")
def whole() -> None:
    same(client.chat("story", HI).message.content, STORY)


@operation("stream")
def stream() -> None:
    same(text_of(client.chat("story", HI, stream=True)), STORY)


@operation("generate")
def generate() -> None:
    same(client.generate("story", "Tell me a story").response, STORY)


@operation("streamed generate")
def streamed_generate() -> None:
    same("".join(c.response for c in client.generate("story", "Go", stream=True)), STORY)


@operation("async")
async def asynchronous() -> None:
    async with ollama.AsyncClient(URL) as waiting:
        same((await waiting.chat("story", HI)).message.content, STORY)
        chunks = [chunk async for chunk in await waiting.chat("story", HI, stream=True)]
        same(text_of(chunks), STORY)


@operation("tools")
def tools() -> None:
    answer = client.chat("caller", ASKED, tools=[TOOL])
    (call,) = answer.message.tool_calls or ()
    same((call.function.name, call.function.arguments), ("get_weather", {"city": "Oslo"}))


@operation("tool results")
def tool_results() -> None:
    answer = client.chat("caller", ASKED, tools=[TOOL])
    said = {"role": "tool", "tool_name": "get_weather", "content": "rain"}
    same(client.chat("caller", [*ASKED, answer.message, said], tools=[TOOL]).message.content, TOLD)


@operation("streamed tools")
def streamed_tools() -> None:
    chunks = client.chat("caller", ASKED, tools=[TOOL], stream=True)
    calls = [call for chunk in chunks for call in chunk.message.tool_calls or ()]
    same([call.function.arguments for call in calls], [{"city": "Oslo"}])


@operation("functions as tools")
def functions_as_tools() -> None:
    def get_weather(city: str) -> str:
        """The weather of a city."""
        return city

    (call,) = client.chat("caller", ASKED, tools=[get_weather]).message.tool_calls or ()
    same(get_weather(**call.function.arguments), "Oslo")


@operation("thinking")
def thinking() -> None:
    message = client.chat("thinker", HI, think=True).message
    same((message.thinking, message.content), (THOUGHT, STORY))
    same(client.chat("thinker", HI, think=False).message.thinking, None)


@operation("streamed thinking")
def streamed_thinking() -> None:
    chunks = list(client.chat("thinker", HI, think="high", stream=True))
    same("".join(chunk.message.thinking or "" for chunk in chunks), THOUGHT)
    same(text_of(chunks), STORY)


@operation("structured")
def structured() -> None:
    fits(client.chat("demo", HI, format=SCHEMA).message.content or "")


@operation("JSON")
def any_json() -> None:
    json.loads(client.chat("demo", HI, format="json").message.content or "")


@operation("pictures")
def pictures() -> None:
    asked = [{"role": "user", "content": "What is it?", "images": [PICTURE]}]
    saw(client.chat("demo", asked).message.content)


@operation("log probabilities")
def log_probabilities() -> None:
    answer = client.chat("story", HI, logprobs=True, top_logprobs=2)
    same("".join(one.token for one in answer.logprobs or ()), STORY)


@operation("limits")
def limits() -> None:
    same(client.chat("story", HI, options={"num_predict": 2}).done_reason, "length")
    short = client.chat("story", HI, options={"stop": ["fox"]})
    same((short.message.content, short.done_reason), (STORY[:-4], "stop"))


@operation("usage")
def usage() -> None:
    answer = client.chat("story", HI)
    assert answer.eval_count and answer.prompt_eval_count and answer.total_duration


@operation("embeddings")
def embeddings() -> None:
    for vector in client.embed("vectors", ["one", "two"]).embeddings:
        is_vector(vector)
    is_vector(client.embeddings("vectors", "one").embedding)


@operation("no such model")
def no_such_model() -> None:
    refused(ollama.ResponseError, lambda: client.chat("nobody", HI), "not found", "404")


@operation("bad request")
def bad_request() -> None:
    refused(ollama.ResponseError, lambda: client.chat("plain", HI, tools=[TOOL]), "support tools")


@operation("busy")
def busy() -> None:
    refused(ollama.ResponseError, lambda: client.chat("busy", HI), "server busy", "503")


@operation("cut")
def cut() -> None:
    refused(Exception, lambda: list(client.chat("cut", HI, stream=True)))


@operation("error in the stream")
def error_in_the_stream() -> None:
    refused(ollama.ResponseError, lambda: list(client.chat("failing", HI, stream=True)), "memory")


@operation("abort")
def abort() -> None:
    with ollama.Client(URL) as leaving:
        stream = leaving.chat("slow", HI, stream=True)
        next(iter(stream))
        stream.close()


@operation("load, unload, ps")
def load() -> None:
    same(client.generate("story", keep_alive="5m").done_reason, "load")
    assert "story:latest" in [model.model for model in client.ps().models]
    same(client.generate("story", keep_alive=0).done_reason, "unload")


@operation("pull")
def pull() -> None:
    lines = list(client.pull("pulled", stream=True))
    same(lines[-1].status, "success")
    assert any(line.digest and line.total and line.completed for line in lines)


@operation("create")
def create() -> None:
    same(client.create("derived", from_="story", system="Be brief").status, "success")
    assert "Be brief" in (client.show("derived").modelfile or "")


@operation("copy, push, delete")
def library() -> None:
    client.copy("story", "copied")
    same(client.push("copied").status, "success")
    client.delete("copied")
    refused(ollama.ResponseError, lambda: client.show("copied"), "not found")


main()
