"""Commands that ask a fitted recommender."""
