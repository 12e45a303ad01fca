"""`openai`."""

import json

import openai
from operations import QUESTION, SCHEMA, STORY, THOUGHT, TOLD, TOOL, URL, fits, is_vector
from operations import main, operation, refused, same

client = openai.OpenAI(base_url=f"{URL}/v1", api_key="ollama", max_retries=0)
HI = [{"role": "user", "content": "Tell me a story"}]
ASKED = [{"role": "user", "content": QUESTION}]


@operation("list")
def models() -> None:
    assert "story:latest" in [model.id for model in client.models.list()]
    same(client.models.retrieve("story").id, "story")


@operation("whole")
def whole() -> None:
    answer = client.chat.completions.create(model="story", messages=HI)
    same((answer.choices[0].message.content, answer.choices[0].finish_reason), (STORY, "stop"))
    same(client.completions.create(model="story", prompt="Go").choices[0].text, STORY)
    same(client.responses.create(model="story", input="Go").output_text, STORY)


@operation("stream")
def stream() -> None:
    chunks = list(
        client.chat.completions.create(
            model="story", messages=HI, stream=True, stream_options={"include_usage": True}
        )
    )
    same("".join(c.choices[0].delta.content or "" for c in chunks if c.choices), STORY)
    assert chunks[-1].usage and chunks[-1].usage.completion_tokens
    parts = client.completions.create(model="story", prompt="Go", stream=True)
    same("".join(part.choices[0].text for part in parts), STORY)
    with client.responses.stream(model="story", input="Go") as events:
        same("".join(e.delta for e in events if e.type == "response.output_text.delta"), STORY)
        same(events.get_final_response().output_text, STORY)


@operation("tools")
def tools() -> None:
    answer = client.chat.completions.create(model="caller", messages=ASKED, tools=[TOOL])
    message = answer.choices[0].message
    (call,) = message.tool_calls or ()
    same(json.loads(call.function.arguments), {"city": "Oslo"})
    same(answer.choices[0].finish_reason, "tool_calls")
    said = {"role": "tool", "tool_call_id": call.id, "content": "rain"}
    last = client.chat.completions.create(
        model="caller", messages=[*ASKED, message, said], tools=[TOOL]
    )
    same(last.choices[0].message.content, TOLD)


@operation("streamed tools")
def streamed_tools() -> None:
    with client.chat.completions.stream(model="caller", messages=ASKED, tools=[TOOL]) as events:
        final = events.get_final_completion()
    (call,) = final.choices[0].message.tool_calls or ()
    same(json.loads(call.function.arguments), {"city": "Oslo"})


@operation("thinking")
def thinking() -> None:
    message = client.chat.completions.create(model="thinker", messages=HI).choices[0].message
    same((message.model_extra["reasoning"], message.content), (THOUGHT, STORY))
    silent = client.chat.completions.create(model="thinker", messages=HI, reasoning_effort="none")
    same(silent.choices[0].message.model_extra.get("reasoning"), None)


@operation("structured")
def structured() -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "person", "schema": SCHEMA}}
    answer = client.chat.completions.create(model="demo", messages=HI, response_format=wanted)
    fits(answer.choices[0].message.content or "")


@operation("embeddings")
def embeddings() -> None:
    for one in client.embeddings.create(model="vectors", input=["one", "two"]).data:
        is_vector(one.embedding)
    numbers = client.embeddings.create(model="vectors", input="one", encoding_format="float")
    is_vector(numbers.data[0].embedding)


@operation("errors")
def errors() -> None:
    ask = client.chat.completions.create
    refused(openai.NotFoundError, lambda: ask(model="nobody", messages=HI), "not found")
    refused(openai.APIStatusError, lambda: ask(model="busy", messages=HI), "server busy")
    refused(openai.BadRequestError, lambda: ask(model="story", messages=[]), "too short")


@operation("abort")
def abort() -> None:
    leaving = openai.OpenAI(base_url=f"{URL}/v1", api_key="ollama")
    chunks = leaving.chat.completions.create(model="slow", messages=HI, stream=True)
    next(iter(chunks))
    chunks.close()
    leaving.close()


main()
