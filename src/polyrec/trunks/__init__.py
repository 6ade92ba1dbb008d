"""Floor 1: the kinds of trunks, one file a kind."""

from polyrec.core.loading import load_kinds

load_kinds(__name__, __path__)
