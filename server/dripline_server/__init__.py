"""The server: Ollama chats as resumable Server-Sent Events."""
