"""One run from its request to its end, and all runs of a server."""
