"""Vectors of texts between runs."""
