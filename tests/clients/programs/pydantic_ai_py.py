"""`pydantic-ai`."""

import base64

from operations import PICTURE, QUESTION, STORY, THOUGHT, TOLD, URL, main, operation, refused
from operations import same, saw
from pydantic import BaseModel
from pydantic_ai import Agent, BinaryContent, NativeOutput
from pydantic_ai.exceptions import ModelHTTPError
from pydantic_ai.messages import ThinkingPart
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.ollama import OllamaProvider

provider = OllamaProvider(base_url=f"{URL}/v1")


class Person(BaseModel):
    name: str
    age: int
    friends: list["Person"] = []


def agent(model: str, **more: object) -> Agent:
    return Agent(OpenAIChatModel(model, provider=provider), **more)


def with_tool() -> Agent:
    caller = agent("caller")

    @caller.tool_plain
    def get_weather(city: str) -> str:
        same(city, "Oslo")
        return "rain"

    return caller


@operation("whole")
def whole() -> None:
    same(agent("story").run_sync("Go").output, STORY)


@operation("stream")
async def stream() -> None:
    async with agent("story").run_stream("Go") as result:
        same("".join([part async for part in result.stream_text(delta=True)]), STORY)


@operation("tools")
def tools() -> None:
    same(with_tool().run_sync(QUESTION).output, TOLD)


@operation("streamed tools")
async def streamed_tools() -> None:
    async with with_tool().run_stream(QUESTION) as result:
        same(await result.get_output(), TOLD)


@operation("thinking")
def thinking() -> None:
    result = agent("thinker").run_sync("Go")
    parts = [part for message in result.all_messages() for part in message.parts]
    same([part.content for part in parts if isinstance(part, ThinkingPart)], [THOUGHT])


@operation("structured")
def structured() -> None:
    result = agent("demo", output_type=NativeOutput(Person)).run_sync("Go")
    assert isinstance(result.output, Person)


@operation("streamed thinking")
async def streamed_thinking() -> None:
    async with agent("thinker").run_stream("Go") as result:
        same(await result.get_output(), STORY)
        parts = [part for message in result.all_messages() for part in message.parts]
    same([part.content for part in parts if isinstance(part, ThinkingPart)], [THOUGHT])


@operation("streamed structured")
async def streamed_structured() -> None:
    async with agent("demo", output_type=NativeOutput(Person)).run_stream("Go") as result:
        assert isinstance(await result.get_output(), Person)


@operation("pictures")
def pictures() -> None:
    picture = BinaryContent(base64.b64decode(PICTURE), media_type="image/png")
    saw(agent("demo").run_sync(["What is it?", picture]).output)


@operation("usage")
def usage() -> None:
    assert agent("story").run_sync("Go").usage.output_tokens


@operation("limits")
def limits() -> None:
    settings = {"stop_sequences": ["fox"]}
    same(agent("story").run_sync("Go", model_settings=settings).output, STORY[:-4])


@operation("no such model")
def no_such_model() -> None:
    refused(ModelHTTPError, lambda: agent("nobody").run_sync("Go"), "404")


@operation("bad request")
def bad_request() -> None:
    plain = agent("plain")
    plain.tool_plain(lambda: "x", name="look")
    refused(ModelHTTPError, lambda: plain.run_sync("Go"), "support tools")


@operation("busy")
def busy() -> None:
    refused(ModelHTTPError, lambda: agent("busy").run_sync("Go"), "busy")


@operation("cut")
async def cut() -> None:
    try:
        async with agent("cut").run_stream("Go") as result:
            await result.get_output()
    except Exception:
        return
    raise AssertionError("it took a cut for an answer")


@operation("abort")
async def abort() -> None:
    async with agent("slow").run_stream("Go") as result:
        async for _ in result.stream_text(delta=True):
            break


main()
