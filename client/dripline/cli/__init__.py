"""The `dripline` command; `terminal` is `dripline chat`."""
