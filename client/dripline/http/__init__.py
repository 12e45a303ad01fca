"""The HTTP layer: requests, response bodies, reconnection, and a client for any SSE endpoint."""
