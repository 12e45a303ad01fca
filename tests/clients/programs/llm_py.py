"""`llm` with `llm-ollama`."""

import llm
from operations import (
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


@operation("errors")
def errors() -> None:
    busy = llm.get_model("ollama/busy")
    refused(Exception, lambda: busy.prompt("Go", stream=False).text(), "server busy")


main()
