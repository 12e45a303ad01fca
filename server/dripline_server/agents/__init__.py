"""Agents: async generators of your own that answer chats, beside Ollama's models.

::

    from dripline_server import Settings, serve

    async def count(chat):
        '''Count to ten.'''
        for number in range(10):
            yield f"{number} "

    async with serve(Settings(), agents={"count": count}) as server: ...

`model: "count"` then starts it, in every dialect. This module exports the public names; each is
documented where it is defined. docs/agents.md says what an agent may yield, and how it is stopped.
"""

from typing import TYPE_CHECKING

from dripline.lazy import lazy_names

__all__ = ["AgentError", "AgentFunction", "BadAgent", "Chat", "openai_model"]

if TYPE_CHECKING:
    from dripline_server.agents.agent import AgentError, AgentFunction, BadAgent
    from dripline_server.agents.agent_chat import Chat
    from dripline_server.agents.openai_server import openai_model
else:  # Hidden from type checkers, which would accept every name through it.
    __getattr__ = lazy_names(
        __name__,
        {
            "dripline_server.agents.agent": "AgentError AgentFunction BadAgent",
            "dripline_server.agents.agent_chat": "Chat",
            "dripline_server.agents.openai_server": "openai_model",
        },
    )
