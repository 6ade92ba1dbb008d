"""Export of a fitted recommender as a tensor graph for other runtimes."""
