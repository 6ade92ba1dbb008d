"""Floor 1: nearest-neighbour search among many vectors, exact or with an inverted file, in numpy only."""
