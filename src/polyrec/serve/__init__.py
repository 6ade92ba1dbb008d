"""Floor 6: what answers while events arrive. Its state lies in a store, outside of the process."""
