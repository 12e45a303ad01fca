"""What each of Ollama's endpoints does, one module a family."""
