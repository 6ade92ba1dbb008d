"""From encoded features to raw outputs, losses and predictions."""
