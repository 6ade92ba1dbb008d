"""Floor 1: which of many vectors are nearest to a query: exact and by an inverted file, in numpy alone."""
