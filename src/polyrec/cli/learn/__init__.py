"""Commands that learn from rows, or prepare and write what is learned from."""
