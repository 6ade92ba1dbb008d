"""Metrics of predictions, of rankings and of lists."""
