"""Floor 6: the server. It answers requests while events arrive, and keeps its state in a store outside the process."""
