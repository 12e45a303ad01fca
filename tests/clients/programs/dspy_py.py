"""`dspy`, which speaks to Ollama by `litellm`."""

import dspy
from operations import STORY, URL, main, operation, refused, same

dspy.settings.configure(lm=dspy.LM("ollama_chat/answering", api_base=URL, cache=False))


def lm(model: str, **more: object) -> dspy.LM:
    return dspy.LM(f"ollama_chat/{model}", api_base=URL, cache=False, num_retries=0, **more)


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
    same(lm("story", max_tokens=2)("Go"), ["Once upon"])


@operation("no such model")
def no_such_model() -> None:
    refused(Exception, lambda: lm("nobody")("Go"), "not found")


@operation("busy")
def busy() -> None:
    refused(Exception, lambda: lm("busy")("Go"), "busy")


main()
