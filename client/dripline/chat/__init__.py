"""The chat client: it sends a chat, resumes its stream after a lost connection, and stops it."""
