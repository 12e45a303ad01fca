"""What holds for every test."""

from hypothesis import settings

# No test depends on the machine being fast.
settings.register_profile("dripline", deadline=None)
settings.load_profile("dripline")
