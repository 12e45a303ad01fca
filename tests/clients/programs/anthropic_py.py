"""`anthropic`."""

import anthropic
from operations import PICTURE, QUESTION, STORY, THOUGHT, TOLD, TOOL, URL, main, operation
from operations import refused, same, saw

client = anthropic.Anthropic(base_url=URL, api_key="ollama", max_retries=0)
HI = [{"role": "user", "content": "Tell me a story"}]
ASKED = [{"role": "user", "content": QUESTION}]
TOOLS = [
    {
        "name": TOOL["function"]["name"],
        "description": TOOL["function"]["description"],
        "input_schema": TOOL["function"]["parameters"],
    }
]


ask = client.messages.create


@operation("whole")
def whole() -> None:
    answer = ask(model="story", max_tokens=100, messages=HI)
    same((answer.content[0].text, answer.stop_reason), (STORY, "end_turn"))


@operation("stream")
def stream() -> None:
    with client.messages.stream(model="story", max_tokens=100, messages=HI) as events:
        same("".join(events.text_stream), STORY)


@operation("usage")
def usage() -> None:
    assert ask(model="story", max_tokens=100, messages=HI).usage.output_tokens
    with client.messages.stream(model="story", max_tokens=100, messages=HI) as events:
        assert events.get_final_message().usage.output_tokens


@operation("async")
async def asynchronous() -> None:
    async with anthropic.AsyncAnthropic(base_url=URL, api_key="ollama") as waiting:
        asked = {"model": "story", "max_tokens": 100, "messages": HI}
        async with waiting.messages.stream(**asked) as events:
            same("".join([text async for text in events.text_stream]), STORY)


@operation("tools")
def tools() -> None:
    answer = ask(model="caller", max_tokens=99, messages=ASKED, tools=TOOLS)
    (call,) = answer.content
    same((call.name, call.input, answer.stop_reason), ("get_weather", {"city": "Oslo"}, "tool_use"))


@operation("tool results")
def tool_results() -> None:
    answer = ask(model="caller", max_tokens=99, messages=ASKED, tools=TOOLS)
    said = {"type": "tool_result", "tool_use_id": answer.content[0].id, "content": "rain"}
    more = [*ASKED, {"role": "assistant", "content": answer.content}]
    more.append({"role": "user", "content": [said]})
    last = ask(model="caller", max_tokens=99, messages=more, tools=TOOLS)
    same(last.content[0].text, TOLD)


@operation("streamed tools")
def streamed_tools() -> None:
    asked = {"model": "caller", "max_tokens": 99, "messages": ASKED, "tools": TOOLS}
    with client.messages.stream(**asked) as events:
        (call,) = events.get_final_message().content
    same(call.input, {"city": "Oslo"})


@operation("thinking")
def thinking() -> None:
    wanted = {"type": "enabled", "budget_tokens": 1024}
    answer = ask(model="thinker", max_tokens=2000, messages=HI, thinking=wanted)
    same([answer.content[0].thinking, answer.content[1].text], [THOUGHT, STORY])


@operation("streamed thinking")
def streamed_thinking() -> None:
    wanted = {"type": "enabled", "budget_tokens": 1024}
    asked = {"model": "thinker", "max_tokens": 2000, "messages": HI, "thinking": wanted}
    with client.messages.stream(**asked) as events:
        thought = "".join(event.thinking for event in events if event.type == "thinking")
    same(thought, THOUGHT)


@operation("pictures")
def pictures() -> None:
    source = {"type": "base64", "media_type": "image/png", "data": PICTURE}
    said = [{"type": "text", "text": "What is it?"}, {"type": "image", "source": source}]
    answer = ask(model="demo", max_tokens=99, messages=[{"role": "user", "content": said}])
    saw(answer.content[0].text)


@operation("limits")
def limits() -> None:
    same(ask(model="story", max_tokens=2, messages=HI).stop_reason, "max_tokens")
    asked = {"model": "story", "max_tokens": 99, "messages": HI, "system": "Be brief"}
    short = ask(**asked, stop_sequences=["fox"])
    same(short.content[0].text, STORY[:-4])


@operation("no such model")
def no_such_model() -> None:
    asked = {"model": "nobody", "max_tokens": 9, "messages": HI}
    refused(anthropic.NotFoundError, lambda: ask(**asked), "not found")


@operation("bad request")
def bad_request() -> None:
    asked = {"model": "plain", "max_tokens": 9, "messages": HI, "tools": TOOLS}
    refused(anthropic.BadRequestError, lambda: ask(**asked), "support tools")


@operation("busy")
def busy() -> None:
    refused(anthropic.APIStatusError, lambda: ask(model="busy", max_tokens=9, messages=HI), "busy")


@operation("cut")
def cut() -> None:
    def read() -> None:
        with client.messages.stream(model="cut", max_tokens=99, messages=HI) as events:
            events.get_final_message()

    refused(Exception, read)


@operation("abort")
def abort() -> None:
    leaving = anthropic.Anthropic(base_url=URL, api_key="ollama")
    with leaving.messages.stream(model="slow", max_tokens=99, messages=HI) as events:
        next(iter(events.text_stream))
    leaving.close()


main()
