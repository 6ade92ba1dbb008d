"""Floor 4: texts that a language model writes from tables: tags of items, profiles of users."""

from polyrec.core.loading import load_kinds

load_kinds(__name__, __path__)
