"""The state of a server: events, served lists and item changes. One file per kind of store."""
