"""Floor 6: hyperparameter search over the settings of a declaration, judged on validation rows."""
