"""OpenAI's endpoints: their requests become Ollama's own, and its answers OpenAI's."""
