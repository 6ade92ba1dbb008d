"""The state behind a server: events, served lists, changes of items. One file a kind of store."""
