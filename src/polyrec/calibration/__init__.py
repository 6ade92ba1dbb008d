"""Floor 2: the kinds of calibrators, one file a kind."""

from polyrec.core.loading import load_kinds

load_kinds(__name__, __path__)
