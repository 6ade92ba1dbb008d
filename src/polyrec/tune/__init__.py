"""Floor 6: a search for the settings of a declaration that do best on validation rows."""
