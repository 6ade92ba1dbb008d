"""Everything that is learned from rows: weights, calibrators, fusion weights; and the judge of each epoch."""
