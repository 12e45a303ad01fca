"""`openai`."""

import json

import openai
from operations import PICTURE, QUESTION, SCHEMA, STORY, THOUGHT, TOLD, TOOL, URL, fits
from operations import is_vector, main, operation, refused, same, saw

client = openai.OpenAI(base_url=f"{URL}/v1", api_key="ollama", max_retries=0)
HI = [{"role": "user", "content": "Tell me a story"}]
ASKED = [{"role": "user", "content": QUESTION}]


ask = client.chat.completions.create


def text_of(chunks) -> str:
    return "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)


@operation("list")
def models() -> None:
    assert "story:latest" in [model.id for model in client.models.list()]


@operation("show")
def show() -> None:
    same(client.models.retrieve("story").id, "story")
    refused(openai.NotFoundError, lambda: client.models.retrieve("nobody"))


@operation("whole")
def whole() -> None:
    answer = ask(model="story", messages=HI)
    same((answer.choices[0].message.content, answer.choices[0].finish_reason), (STORY, "stop"))


@operation("stream")
def stream() -> None:
    same(text_of(ask(model="story", messages=HI, stream=True)), STORY)


@operation("usage")
def usage() -> None:
    assert ask(model="story", messages=HI).usage.completion_tokens
    wanted = {"include_usage": True}
    *_, last = ask(model="story", messages=HI, stream=True, stream_options=wanted)
    assert last.usage and last.usage.completion_tokens


@operation("async")
async def asynchronous() -> None:
    async with openai.AsyncOpenAI(base_url=f"{URL}/v1", api_key="ollama") as waiting:
        chunks = await waiting.chat.completions.create(model="story", messages=HI, stream=True)
        same(text_of([chunk async for chunk in chunks]), STORY)


@operation("generate")
def generate() -> None:
    same(client.completions.create(model="story", prompt="Go").choices[0].text, STORY)


@operation("streamed generate")
def streamed_generate() -> None:
    parts = client.completions.create(model="story", prompt="Go", stream=True)
    same("".join(part.choices[0].text for part in parts), STORY)


@operation("responses")
def responses() -> None:
    same(client.responses.create(model="story", input="Go").output_text, STORY)
    with client.responses.stream(model="story", input="Go") as events:
        same("".join(e.delta for e in events if e.type == "response.output_text.delta"), STORY)
        same(events.get_final_response().output_text, STORY)


@operation("tools")
def tools() -> None:
    answer = ask(model="caller", messages=ASKED, tools=[TOOL])
    (call,) = answer.choices[0].message.tool_calls or ()
    same(json.loads(call.function.arguments), {"city": "Oslo"})
    same(answer.choices[0].finish_reason, "tool_calls")


@operation("tool results")
def tool_results() -> None:
    message = ask(model="caller", messages=ASKED, tools=[TOOL]).choices[0].message
    said = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "rain"}
    last = ask(model="caller", messages=[*ASKED, message, said], tools=[TOOL])
    same(last.choices[0].message.content, TOLD)


@operation("streamed tools")
def streamed_tools() -> None:
    with client.chat.completions.stream(model="caller", messages=ASKED, tools=[TOOL]) as events:
        final = events.get_final_completion()
    (call,) = final.choices[0].message.tool_calls or ()
    same(json.loads(call.function.arguments), {"city": "Oslo"})


@operation("thinking")
def thinking() -> None:
    message = ask(model="thinker", messages=HI).choices[0].message
    same((message.model_extra["reasoning"], message.content), (THOUGHT, STORY))
    silent = ask(model="thinker", messages=HI, reasoning_effort="none")
    same(silent.choices[0].message.model_extra.get("reasoning"), None)


@operation("streamed thinking")
def streamed_thinking() -> None:
    chunks = list(ask(model="thinker", messages=HI, stream=True))
    deltas = [chunk.choices[0].delta.model_extra for chunk in chunks]
    same("".join(delta.get("reasoning") or "" for delta in deltas), THOUGHT)
    same(text_of(chunks), STORY)


@operation("structured")
def structured() -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "person", "schema": SCHEMA}}
    answer = ask(model="demo", messages=HI, response_format=wanted)
    fits(answer.choices[0].message.content or "")


@operation("JSON")
def any_json() -> None:
    answer = ask(model="demo", messages=HI, response_format={"type": "json_object"})
    json.loads(answer.choices[0].message.content or "")


@operation("pictures")
def pictures() -> None:
    picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PICTURE}"}}
    asked = [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, picture]}]
    saw(ask(model="demo", messages=asked).choices[0].message.content)


@operation("log probabilities")
def log_probabilities() -> None:
    choice = ask(model="story", messages=HI, logprobs=True, top_logprobs=2).choices[0]
    same("".join(one.token for one in choice.logprobs.content), STORY)


@operation("limits")
def limits() -> None:
    same(ask(model="story", messages=HI, max_tokens=2).choices[0].finish_reason, "length")
    same(ask(model="story", messages=HI, stop="fox").choices[0].message.content, STORY[:-4])


@operation("embeddings")
def embeddings() -> None:
    for one in client.embeddings.create(model="vectors", input=["one", "two"]).data:
        is_vector(one.embedding)
    numbers = client.embeddings.create(model="vectors", input="one", encoding_format="float")
    is_vector(numbers.data[0].embedding)


@operation("no such model")
def no_such_model() -> None:
    refused(openai.NotFoundError, lambda: ask(model="nobody", messages=HI), "nobody")


@operation("bad request")
def bad_request() -> None:
    refused(openai.BadRequestError, lambda: ask(model="story", messages=[]))
    asked = {"model": "plain", "messages": HI, "tools": [TOOL]}
    refused(openai.BadRequestError, lambda: ask(**asked), "support tools")


@operation("busy")
def busy() -> None:
    refused(openai.APIStatusError, lambda: ask(model="busy", messages=HI), "busy")


@operation("cut")
def cut() -> None:
    refused(Exception, lambda: list(ask(model="cut", messages=HI, stream=True)))


@operation("abort")
def abort() -> None:
    leaving = openai.OpenAI(base_url=f"{URL}/v1", api_key="ollama")
    chunks = leaving.chat.completions.create(model="slow", messages=HI, stream=True)
    next(iter(chunks))
    chunks.close()
    leaving.close()


main()
