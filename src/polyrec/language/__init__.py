"""Floor 1: texts to vectors: encoders, one file a kind, and their cache."""

from polyrec.core.loading import load_kinds

load_kinds(__name__, __path__)
