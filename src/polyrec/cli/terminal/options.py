"""Options of the form NAME=NUMBER."""

from __future__ import annotations

from collections.abc import Sequence

from polyrec.core.errors import UserError


def numbers(pairs: Sequence[str] | None, option: str) -> dict[str, float] | None:
    """Parse `NAME=NUMBER` pairs; return None if there are none."""
    return dict(_number(pair, option) for pair in pairs) if pairs else None


def _number(pair: str, option: str) -> tuple[str, float]:
    name, _, text = pair.rpartition("=")
    try:
        if name.strip():
            return name.strip(), float(text)
    except ValueError:
        pass
    raise UserError(f"option {option} {pair}", expected="NAME=NUMBER", found="no such pair", remedy=f"Write {option} like=0.5.")
