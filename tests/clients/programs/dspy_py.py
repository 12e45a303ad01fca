"""`dspy`."""

import dspy
from operations import STORY, URL, main, operation, refused, same

OLLAMA = {"api_base": f"{URL}/v1", "api_key": "ollama", "cache": False}
dspy.settings.configure(lm=dspy.LM("openai/answering", **OLLAMA))


def lm(model: str, **more: object) -> dspy.LM:
    return dspy.LM(f"openai/{model}", **OLLAMA, num_retries=0, **more)


@operation("whole")
def whole() -> None:
    same(lm("story")("Go"), [STORY])


@operation("structured")
def structured() -> None:
    same(dspy.Predict("question -> answer")(question="Who?").answer, "a fox")


@operation("thinking")
def thinking() -> None:
    found = dspy.ChainOfThought("question -> answer")(question="Who?")
    same((found.reasoning, found.answer), ("It is in the story.", "a fox"))


@operation("async")
async def asynchronous() -> None:
    same(await lm("story").acall("Go"), [STORY])


@operation("limits")
def limits() -> None:
    same(lm("story", stop=["fox"])("Go"), [STORY[:-4]])


@operation("no such model")
def no_such_model() -> None:
    refused(Exception, lambda: lm("nobody")("Go"), "nobody")


@operation("busy")
def busy() -> None:
    refused(Exception, lambda: lm("busy")("Go"), "busy")


main()
