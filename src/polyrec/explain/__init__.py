"""Floor 6: why a score is what it is."""
