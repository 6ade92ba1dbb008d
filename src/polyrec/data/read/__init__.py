"""From files, frames and databases to tables."""
