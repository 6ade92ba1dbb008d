"""Where data sets and text vectors are kept between runs."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_cache_path

from polyrec.core.names import CACHE_VARIABLE


def cache_folder() -> Path:
    """Return the folder that POLYREC_CACHE names, else the user's cache folder as the platform has it."""
    named = os.environ.get(CACHE_VARIABLE)
    return Path(named) if named else user_cache_path("polyrec")
