"""Floor 4: what a policy would have earned, from the log of another."""
