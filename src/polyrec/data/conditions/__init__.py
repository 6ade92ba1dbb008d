"""SQL expressions over columns, checked before they run."""
