from pydantic_ai import Agent, messages
from pydantic_ai.models.test import TestModel

from dripline import Thinking, ToolCall, ToolResult

agent = Agent(TestModel())  # or "openai:gpt-5", ...


@agent.tool_plain
def look_up(word: str) -> str:
    return f"{word} drips"


async def assistant(chat):
    """Answer with pydantic-ai."""
    async with agent.run_stream_events(chat.last_text) as events:
        async for event in events:
            match event:
                case messages.FunctionToolCallEvent(part=call):
                    yield ToolCall(call.tool_call_id, call.tool_name, call.args_as_dict())
                case messages.FunctionToolResultEvent(part=back):
                    yield ToolResult(back.tool_call_id, back.tool_name, str(back.content))
                case messages.PartStartEvent(part=part) | messages.PartDeltaEvent(delta=part):
                    text = getattr(part, "content", "") or getattr(part, "content_delta", "") or ""
                    yield Thinking(text) if "Thinking" in type(part).__name__ else text
