"""The server: Ollama chats as resumable Server-Sent Events.

This module exports the public names; each is documented where it is defined.
"""

from typing import TYPE_CHECKING

from dripline.lazy import lazy_names

__all__ = [
    "BadAgent",
    "BadSetting",
    "BadTool",
    "Server",
    "Settings",
    "Tool",
    "ToolError",
    "create_app",
    "serve",
]

if TYPE_CHECKING:
    from dripline.tool import BadTool, Tool, ToolError
    from dripline_server.agents.agent import BadAgent
    from dripline_server.app import Server, create_app, serve
    from dripline_server.settings import BadSetting, Settings
else:  # Hidden from type checkers, which would accept every name through it.
    __getattr__ = lazy_names(
        __name__,
        {
            "dripline_server.agents.agent": "BadAgent",
            "dripline_server.app": "Server create_app serve",
            "dripline_server.settings": "BadSetting Settings",
            "dripline.tool": "BadTool Tool ToolError",
        },
    )
