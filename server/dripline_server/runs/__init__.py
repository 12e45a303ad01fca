"""Runs: one run from its request to its end, and the registry of all of them."""
