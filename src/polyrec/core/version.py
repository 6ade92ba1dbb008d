"""The version of the package, which nothing else knows."""

__version__ = "0.1.0"
