"""Floor 6: plots and one-page HTML reports."""
