"""Conversion to values that JSON can represent."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def as_json(value: Any) -> Any:
    """Return JSON values; NaN and infinity become None."""
    if isinstance(value, Mapping):
        return {str(key): as_json(element) for key, element in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(element) for element in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
