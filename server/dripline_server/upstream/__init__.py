"""Everything that talks to an Ollama."""
