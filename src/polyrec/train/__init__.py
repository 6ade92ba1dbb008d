"""Floor 4: one readable loop, and what steers it."""
