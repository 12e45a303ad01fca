"""Anthropic's endpoint: its requests become Ollama's own, and its answers Anthropic's."""
