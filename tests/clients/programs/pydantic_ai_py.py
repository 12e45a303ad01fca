"""`pydantic-ai`."""

from operations import QUESTION, STORY, THOUGHT, TOLD, URL, main, operation, refused, same
from pydantic import BaseModel
from pydantic_ai import Agent, NativeOutput
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


@operation("errors")
def errors() -> None:
    refused(ModelHTTPError, lambda: agent("nobody").run_sync("Go"), "404")


@operation("abort")
async def abort() -> None:
    async with agent("slow").run_stream("Go") as result:
        async for _ in result.stream_text(delta=True):
            break


main()
