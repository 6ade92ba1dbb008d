"""Floor 4: metrics, slices, intervals, baselines."""
