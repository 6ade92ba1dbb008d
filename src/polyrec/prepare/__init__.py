"""From tables to the numbers that a model is trained on, in memory or on disk."""
