"""`anthropic`."""

import anthropic
from operations import QUESTION, STORY, THOUGHT, TOLD, TOOL, URL, main, operation, refused, same

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


@operation("whole")
def whole() -> None:
    answer = client.messages.create(model="story", max_tokens=100, messages=HI)
    same((answer.content[0].text, answer.stop_reason), (STORY, "end_turn"))


@operation("stream")
def stream() -> None:
    with client.messages.stream(model="story", max_tokens=100, messages=HI) as events:
        same("".join(events.text_stream), STORY)
        same(events.get_final_message().usage.output_tokens > 0, True)


@operation("tools")
def tools() -> None:
    answer = client.messages.create(model="caller", max_tokens=99, messages=ASKED, tools=TOOLS)
    (call,) = answer.content
    same((call.name, call.input, answer.stop_reason), ("get_weather", {"city": "Oslo"}, "tool_use"))
    said = {"type": "tool_result", "tool_use_id": call.id, "content": "rain"}
    more = [*ASKED, {"role": "assistant", "content": answer.content}]
    more.append({"role": "user", "content": [said]})
    last = client.messages.create(model="caller", max_tokens=99, messages=more, tools=TOOLS)
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
    answer = client.messages.create(model="thinker", max_tokens=2000, messages=HI, thinking=wanted)
    same([answer.content[0].thinking, answer.content[1].text], [THOUGHT, STORY])


@operation("errors")
def errors() -> None:
    ask = client.messages.create
    refused(
        anthropic.NotFoundError,
        lambda: ask(model="nobody", max_tokens=9, messages=HI),
        "not found",
    )
    refused(anthropic.APIStatusError, lambda: ask(model="busy", max_tokens=9, messages=HI), "busy")


@operation("abort")
def abort() -> None:
    leaving = anthropic.Anthropic(base_url=URL, api_key="ollama")
    with leaving.messages.stream(model="slow", max_tokens=99, messages=HI) as events:
        next(iter(events.text_stream))
    leaving.close()


main()
