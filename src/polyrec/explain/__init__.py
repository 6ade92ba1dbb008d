"""Floor 6: explanations of predictions."""
