"""What Ollama tells about a model besides its name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dripline.testing.fake_ollama.json_value import JsonValue


@dataclass(frozen=True, slots=True)
class ModelDetails:
    """What Ollama tells about a model besides its name.

    Attributes:
        family: Its architecture.
        parameter_size: As people say it, such as "3.2B".
        quantization_level: As the GGUF format names it.
        size: Bytes on disk, and in memory once loaded.
        context_length: The longest context in tokens, which a model also has where the request's
            `num_ctx` asks for no other.
        embedding_length: How many numbers an embedding has.
        size_vram: Bytes of it in the memory of the GPU; None means all.
        license: The licence's text.
        parameters: Options that the model brings, such as {"stop": ["<|im_end|>"]}.
        template: The prompt's template.
        system: The system prompt that the model brings.
    """

    family: str = "llama"
    parameter_size: str = "3.2B"
    quantization_level: str = "Q4_K_M"
    size: int = 2_019_393_189
    context_length: int = 4096
    embedding_length: int = 3072
    size_vram: int | None = None
    license: str = ""
    parameters: Mapping[str, JsonValue] = field(default_factory=dict)
    template: str = "{{ .Prompt }}"
    system: str = ""

    def to_json(self, parent: str = "") -> dict[str, JsonValue]:
        """Return `details` of a model."""
        return {
            "parent_model": parent,
            "format": "gguf",
            "family": self.family,
            "families": [self.family],
            "parameter_size": self.parameter_size,
            "quantization_level": self.quantization_level,
        }
