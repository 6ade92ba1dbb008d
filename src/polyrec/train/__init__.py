"""Floor 4: the training loop, its settings and its optimisers."""
