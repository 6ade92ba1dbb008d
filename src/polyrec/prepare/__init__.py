"""Preparation of tables for training: learned states and encoded columns, in memory or on disk."""
