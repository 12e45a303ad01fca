"""The chat client: a chat is sent, followed through every drop, and stopped."""
