"""Go's ways with JSON, times and durations, in which Ollama's API reads, writes and refuses."""
