"""A real HTTP server that speaks Ollama's API from a script; `dripline.testing` exports it."""
