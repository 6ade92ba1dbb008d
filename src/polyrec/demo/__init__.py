"""Floor 7: the main job on real data."""
