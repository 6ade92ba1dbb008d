"""Floor 5: a fitted recommender as a tensor graph for other runtimes."""
