from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langgraph.graph import START, MessagesState, StateGraph

from dripline import State, TextMessage

model = GenericFakeChatModel(messages=iter(lambda: AIMessage("It drips."), None))


async def ask(state: MessagesState):
    return {"messages": [await model.ainvoke(state["messages"])]}


graph = StateGraph(MessagesState).add_node("ask", ask).add_edge(START, "ask").compile()


async def assistant(chat):
    """Answer with LangGraph."""
    asked = {"messages": [(one["role"], one["content"]) for one in chat.messages]}
    async for mode, item in graph.astream(asked, stream_mode=["messages", "updates"]):
        if mode == "messages":
            yield TextMessage(item[0].text)
        else:
            yield State({"node": next(iter(item))})
