"""The models that a server serves: versions, routing, refreshes."""
