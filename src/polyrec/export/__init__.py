"""Floor 5: a fitted recommender as a graph of tensors that other runtimes read."""
