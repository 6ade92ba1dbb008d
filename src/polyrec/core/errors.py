"""`UserError`, the exception for mistakes of a user, and the parts of its message."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from pydantic import ValidationError


class UserError(ValueError):
    """A mistake in data, declaration or call, described in four parts.

    The message reads `thing: expected …, found …. Remedy.` Internal mistakes are `assert`s instead.
    """

    def __init__(self, thing: str, *, expected: str, found: str, remedy: str) -> None:
        self.thing, self.expected, self.found, self.remedy = thing, expected, found, remedy
        super().__init__(f"{thing}: expected {expected}, found {found}. {remedy}")


def nearest(name: str, options: Iterable[str]) -> str:
    """Return `Did you mean 'x'?` for the option nearest to `name`, or a list of options if none is near."""
    known = sorted(options)
    lowered = {option.lower(): option for option in known}
    close = difflib.get_close_matches(name.lower(), list(lowered), n=1, cutoff=0.6)
    if close:
        return f"Did you mean {lowered[close[0]]!r}?"
    shown = ", ".join(known[:12]) + (", …" if len(known) > 12 else "")
    return f"Known: {shown or 'none'}."


def missing_extra(package: str, extra: str, purpose: str) -> ImportError:
    """Return the `ImportError` for an optional dependency, with the command that installs it."""
    return ImportError(f"{purpose} needs the package {package!r}: pip install 'polyrec[{extra}]'")


def describe(error: ValidationError) -> str:
    """Return the errors reported by pydantic as lines `path: message`, without links or class dumps."""
    lines = []
    for problem in error.errors(include_url=False):
        path = ".".join(str(part) for part in problem["loc"])
        message = problem["msg"].removeprefix("Value error, ")
        given = "" if problem["type"] in ("value_error", "missing") else f" (found {problem['input']!r:.80})"
        lines.append(f"{path}: {message}{given}" if path else f"{message}{given}")
    return "\n".join(lines)
