"""The tools that models may call: the server's own functions, and the page."""
