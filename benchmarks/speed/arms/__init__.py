"""One module per arm: the code that runs inside a worker, in the environment of its library."""
