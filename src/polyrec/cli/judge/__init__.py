"""Commands that judge: metrics, comparisons, estimates."""
