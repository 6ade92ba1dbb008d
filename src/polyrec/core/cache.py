"""The cache folder of data sets and text vectors."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_cache_path

from polyrec.core.names import CACHE_VARIABLE


def cache_folder() -> Path:
    """Return the folder in POLYREC_CACHE, else the platform's cache folder of the user."""
    named = os.environ.get(CACHE_VARIABLE)
    return Path(named) if named else user_cache_path("polyrec")
