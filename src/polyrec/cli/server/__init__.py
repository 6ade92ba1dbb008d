"""Commands of a server and of the models it serves."""
