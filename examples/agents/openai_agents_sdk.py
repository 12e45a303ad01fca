from agents import Agent, Runner, function_tool
from agents.testing import ScriptedModel, assistant_message, function_call

from dripline import TextMessage, ToolCall, ToolResult


@function_tool
def look_up(word: str) -> str:
    return f"{word} drips"


async def assistant(chat):
    """Answer with the OpenAI Agents SDK."""
    call = function_call("look_up", {"word": "it"}, call_id="1")
    model = ScriptedModel([[call], [assistant_message("It drips.")]])  # or "gpt-5", ...
    agent = Agent(name="assistant", model=model, tools=[look_up])
    async for event in Runner.run_streamed(agent, chat.last_text).stream_events():
        match event.type, getattr(event, "data", None) or getattr(event, "item", None):
            case "raw_response_event", data if data.type == "response.output_text.delta":
                yield TextMessage(data.delta)
            case "run_item_stream_event", item if item.type == "tool_call_item":
                call = item.raw_item
                yield ToolCall(call.call_id, call.name, {"arguments": call.arguments})
            case "run_item_stream_event", item if item.type == "tool_call_output_item":
                yield ToolResult(item.raw_item["call_id"], call.name, str(item.output))
