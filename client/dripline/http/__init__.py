"""HTTP beneath everything: requests, bodies, coming back, and any SSE endpoint."""
