"""Frozen models that turn texts into vectors, one file a kind."""
