"""Three servers on one Redis, and whatever can happen to any of them, in seeded series."""
