"""What a run looks like on the wire."""
