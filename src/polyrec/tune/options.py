"""Ranges in the syntax of the command line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml
from pydantic import ValidationError

from polyrec.core.errors import UserError, describe
from polyrec.core.paths import get_path, has_path
from polyrec.core.spec import Spec
from polyrec.ranges.choice import Choice
from polyrec.ranges.integers import Integers
from polyrec.ranges.range import Range
from polyrec.ranges.uniform import Uniform


def read_ranges(spec: Spec, options: Sequence[str]) -> dict[str, Range]:
    """Read `PATH=LOW..HIGH`, `PATH=LOW..HIGH:log` and `PATH=A,B,C`.

    Two integers make a range of integers, unless the setting is currently a float. The options of a choice are parsed as the
    elements of a YAML list: `network=MMoE,PLE`, `tasks.like.tower=[64],[128,64]`.
    """
    return dict(_read(spec, option) for option in options)


def _read(spec: Spec, option: str) -> tuple[str, Range]:
    path, equals, text = (part.strip() for part in option.partition("="))
    if not (path and equals and text):
        raise _wrong(option, "no PATH=VALUES")
    try:
        return path, _interval(spec, option, path, text) if ".." in text else Choice(options=tuple(_options(option, text)))
    except ValidationError as error:
        raise _wrong(option, describe(error)) from error


def _interval(spec: Spec, option: str, path: str, text: str) -> Range:
    bounds, colon, ending = text.partition(":")
    if colon and ending != "log":
        raise _wrong(option, f"the ending {ending!r}")
    low, high = (_number(option, bound.strip()) for bound in bounds.split("..", 1))
    is_float = has_path(spec, path) and isinstance(_current(spec, path), float)
    if isinstance(low, int) and isinstance(high, int) and not is_float:
        return Integers(low=low, high=high, log=bool(colon))
    return Uniform(low=low, high=high, log=bool(colon))


def _current(spec: Spec, path: str) -> Any:
    """Return the value at a path; a weight that a mapping does not list yet is a float like the others."""
    try:
        return get_path(spec, path)
    except UserError:
        return 1.0


def _number(option: str, text: str) -> int | float:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    raise _wrong(option, f"{text!r}, which is no number,")


def _options(option: str, text: str) -> list[Any]:
    try:
        values = yaml.safe_load(f"[{text}]")
    except yaml.YAMLError as error:
        raise _wrong(option, str(error).splitlines()[0]) from error
    return [_plain(value) for value in values]


def _plain(value: Any) -> Any:
    """Return `1e-3` as a number; YAML 1.1 parses it as a string."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _wrong(option: str, found: str) -> UserError:
    expected = "PATH=LOW..HIGH, PATH=LOW..HIGH:log or PATH=A,B"
    remedy = "Write --range training.learning_rate=1e-4..1e-2:log or --range network=MMoE,SharedBottom."
    return UserError(f"option --range {option}", expected=expected, found=found, remedy=remedy)
