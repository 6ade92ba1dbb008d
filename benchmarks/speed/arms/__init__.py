"""One module an arm: what runs inside a worker, in the environment of the library that it drives."""
