"""Floor 1: plain torch modules with plain arguments."""
