"""A fitted recommender as parts in memory and as files in a folder."""
