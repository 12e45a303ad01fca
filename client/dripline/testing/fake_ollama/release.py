"""What differs between Ollama's versions, as far as the fake plays it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from dripline.testing.fake_ollama.request import ApiError

VERSION = "0.33.0"  # what the fake plays unless it is told otherwise


@dataclass(frozen=True, slots=True)
class Release:
    """A version of Ollama.

    Attributes:
        version: What `/api/version` says.
        by_llama_server: Whether llama-server runs the models, and its errors are passed on.

    Raises:
        ValueError: `version` is not one such as "0.33.0".
    """

    version: str = VERSION

    def __post_init__(self) -> None:
        if not re.match(r"\d+\.\d+", self.version):
            raise ValueError(f"version must be one of Ollama's, such as 0.33.0: {self.version!r}")

    @property
    def by_llama_server(self) -> bool:
        """Whether llama-server runs the models, whose errors are passed on as they are."""
        major, minor = map(int, self.version.split(".")[:2])
        # 0.25 had a runner of its own, and 0.33 has none; between them it is not known here.
        return (major, minor) >= (0, 30)

    @property
    def lists_capabilities(self) -> bool:
        """Whether `/api/tags` tells what models can do."""
        return self.by_llama_server

    @property
    def shows_loading(self) -> bool:
        """Whether `/api/ps` shows a model that is still loading."""
        return not self.by_llama_server

    @property
    def finishes_apart(self) -> bool:
        """Whether the end of a streamed chat completion is a chunk of its own."""
        return self.by_llama_server

    def blind(self) -> ApiError:
        """Return the refusal of a picture by a model that cannot see."""
        if not self.by_llama_server:
            message = (
                "Failed to create new sequence: failed to process inputs: this model is missing "
                "data required for image input"
            )
            return ApiError(500, message, late=True)
        message = "Multimodal data provided, but model does not support multimodal requests."
        return _of_llama_server(400, message, "invalid_request_error")

    def too_long(self, tokens: int, context: int) -> ApiError:
        """Return the refusal of a prompt that does not go into the context."""
        if not self.by_llama_server:
            return ApiError(400, "the input length exceeds the context length", late=True)
        message = (
            f"request ({tokens} tokens) exceeds the available context size ({context} tokens), "
            "try increasing it"
        )
        counts = {"n_prompt_tokens": tokens, "n_ctx": context}
        return _of_llama_server(400, message, "exceed_context_size_error", **counts)

    @property
    def no_embeddings(self) -> str:
        """What a model says that has no embeddings."""
        if not self.by_llama_server:
            return "this model does not support embeddings"
        return "This server does not support embeddings. Start it with `--embeddings`"

    @property
    def terminated(self) -> str:
        """What is said of a model whose process has ended."""
        process = "llama-server" if self.by_llama_server else "llama runner"
        return f"{process} process has terminated: exit status 2"


def _of_llama_server(status: int, message: str, kind: str, **more: int) -> ApiError:
    """Return an error of llama-server's, which Ollama passes on as the text that it came in."""
    error = {"error": {"code": status, "message": message, "type": kind, **more}}
    return ApiError(status, json.dumps(error, separators=(",", ":")), late=True)
