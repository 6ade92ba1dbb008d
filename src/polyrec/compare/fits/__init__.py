"""The fits of a comparison, each in a process of its own."""
