"""Polyrec: one recommender for many tasks, with language models inside."""

__version__ = "0.1.0"
