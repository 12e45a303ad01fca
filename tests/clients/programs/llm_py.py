"""`llm` with `llm-ollama`."""

import base64

import llm
from operations import (
    PICTURE,
    QUESTION,
    SCHEMA,
    STORY,
    TOLD,
    fits,
    is_vector,
    main,
    operation,
    refused,
    same,
    saw,
)


@operation("list")
def models() -> None:
    assert "ollama/story:latest" in [model.model_id for model in llm.get_models()]


@operation("whole")
def whole() -> None:
    same(llm.get_model("ollama/story").prompt("Go", stream=False).text(), STORY)


@operation("stream")
def stream() -> None:
    same("".join(llm.get_model("ollama/story").prompt("Go")), STORY)


@operation("tools")
def tools() -> None:
    def get_weather(city: str) -> str:
        same(city, "Oslo")
        return "rain"

    chain = llm.get_model("ollama/caller").chain(QUESTION, tools=[get_weather], stream=False)
    same(chain.text(), TOLD)


@operation("structured")
def structured() -> None:
    fits(llm.get_model("ollama/demo").prompt("Go", schema=SCHEMA, stream=False).text())


@operation("embeddings")
def embeddings() -> None:
    is_vector(llm.get_embedding_model("ollama/vectors").embed("one"))


@operation("async")
async def asynchronous() -> None:
    same(await llm.get_async_model("ollama/story").prompt("Go").text(), STORY)


@operation("pictures")
def pictures() -> None:
    picture = llm.Attachment(type="image/png", content=base64.b64decode(PICTURE))
    demo = llm.get_model("ollama/demo")
    saw(demo.prompt("What is it?", attachments=[picture], stream=False).text())


@operation("limits")
def limits() -> None:
    story = llm.get_model("ollama/story")
    same(story.prompt("Go", stream=False, num_predict=2).text(), "Once upon")


@operation("busy")
def busy() -> None:
    slow = llm.get_model("ollama/busy")
    refused(Exception, lambda: slow.prompt("Go", stream=False).text(), "server busy")


@operation("cut")
def cut() -> None:
    refused(Exception, lambda: list(llm.get_model("ollama/cut").prompt("Go")))


main()
