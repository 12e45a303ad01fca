"""`dripline chat`: a chat in the terminal, with what the extra `[terminal]` brings."""
