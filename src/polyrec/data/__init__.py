"""Floor 3: from any table to batches."""
