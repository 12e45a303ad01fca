"""`llama-index-llms-ollama` and `llama-index-embeddings-ollama`."""

from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.embeddings.ollama import OllamaEmbedding
from llama_index.llms.ollama import Ollama
from operations import QUESTION, STORY, THOUGHT, URL, is_vector, main, operation, refused, same
from pydantic import BaseModel


class Person(BaseModel):
    name: str
    age: int


def model(name: str, **more: object) -> Ollama:
    return Ollama(model=name, base_url=URL, request_timeout=30, **more)


def get_weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"rain in {city}"


HI = [ChatMessage(role="user", content="Go")]


@operation("whole")
def whole() -> None:
    same(model("story").chat(HI).message.content, STORY)


@operation("stream")
def stream() -> None:
    same("".join(part.delta or "" for part in model("story").stream_chat(HI)), STORY)


@operation("tools")
def tools() -> None:
    llm = model("caller")
    answer = llm.chat_with_tools([FunctionTool.from_defaults(get_weather)], user_msg=QUESTION)
    (call,) = llm.get_tool_calls_from_response(answer)
    same(call.tool_kwargs, {"city": "Oslo"})


@operation("thinking")
def thinking() -> None:
    answer = model("thinker", thinking=True).chat(HI)
    same(answer.message.content, STORY)
    assert THOUGHT in str(answer) or THOUGHT in repr(answer)


@operation("structured")
def structured() -> None:
    value = model("demo").as_structured_llm(Person).complete("Go").raw
    assert isinstance(value, Person)


@operation("embeddings")
def embeddings() -> None:
    is_vector(OllamaEmbedding(model_name="vectors", base_url=URL).get_text_embedding("one"))


@operation("generate")
def generate() -> None:
    same(model("story").complete("Go").text, STORY)


@operation("streamed generate")
def streamed_generate() -> None:
    same("".join(part.delta or "" for part in model("story").stream_complete("Go")), STORY)


@operation("async")
async def asynchronous() -> None:
    parts = await model("story").astream_chat(HI)
    same("".join([part.delta or "" async for part in parts]), STORY)


@operation("streamed thinking")
def streamed_thinking() -> None:
    parts = list(model("thinker", thinking=True).stream_chat(HI))
    same("".join(part.delta or "" for part in parts), STORY)
    assert THOUGHT in repr(parts)


@operation("no such model")
def no_such_model() -> None:
    refused(Exception, lambda: model("nobody").chat(HI), "not found")


@operation("busy")
def busy() -> None:
    refused(Exception, lambda: model("busy").chat(HI), "server busy")


@operation("cut")
def cut() -> None:
    refused(Exception, lambda: list(model("cut").stream_chat(HI)))


@operation("abort")
def abort() -> None:
    parts = model("slow").stream_chat(HI)
    next(parts)
    parts.close()


main()
