"""Floor 4: the kinds of rules, one file a kind, and the list that they build."""

from polyrec.core.loading import load_kinds

load_kinds(__name__, __path__)
