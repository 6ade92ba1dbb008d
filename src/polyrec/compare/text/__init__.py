"""What a text feature is worth: the same recommender with and without its text."""
