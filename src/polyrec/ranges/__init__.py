"""Floor 2: the kinds of ranges that a setting is searched in, one file a kind."""

from polyrec.core.loading import load_kinds

load_kinds(__name__, __path__)
