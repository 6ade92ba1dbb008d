"""Checks of the ranges of a search: they refer to settings, their values fit, and they do not affect the evaluation."""

from __future__ import annotations

from collections.abc import Mapping

from polyrec.core.errors import UserError
from polyrec.core.paths import get_path, has_path, with_path
from polyrec.core.spec import Spec
from polyrec.ranges.choice import Choice
from polyrec.ranges.range import Range

_JUDGING = ("tasks", "relevant", "search", "training.seed", "training.split", "training.utility", "training.refit")
"""Settings that determine the learning objective, or the rows and metric of the evaluation; of a task, its name and labels."""


def check_ranges(spec: Spec, ranges: Mapping[str, Range]) -> None:
    """Raise `UserError` if a range refers to no setting, does not fit the setting, or would change how trials are evaluated.

    A range may refer to a setting below a part that another range chooses, such as `network.experts` below `network`: it must
    then fit at least one of the options.
    """
    for path in in_order(ranges):
        _refuse_judging(path)
        places = [place for place in _variants(spec, ranges, path) if has_path(place, path)]
        if not places:
            get_path(spec, path)
        for value in ranges[path].ends():
            with_path(places[0], path, value)


def in_order(ranges: Mapping[str, Range]) -> list[str]:
    """Return the paths sorted such that a part precedes the settings below it."""
    return sorted(ranges, key=lambda path: path.count("."))


def _variants(spec: Spec, ranges: Mapping[str, Range], path: str) -> list[Spec]:
    """Return the spec, and a copy of it with each option of the choices above a path."""
    variants = [spec]
    for above in in_order(ranges):
        chosen = ranges[above]
        if path.startswith(f"{above}.") and isinstance(chosen, Choice):
            parents = [variant for variant in variants if has_path(variant, above)]
            variants += [with_path(parent, above, option) for parent in parents for option in chosen.options]
    return variants


def _refuse_judging(path: str) -> None:
    parts = path.split(".")
    below_task = parts[0] == "tasks" and len(parts) > 2 and parts[2] not in ("name", "label", "after")
    if not below_task and any(path == fixed or path.startswith(f"{fixed}.") for fixed in _JUDGING):
        raise UserError(
            f"range of {path!r}",
            expected="a setting that affects how well the model learns",
            found="one that changes the objective, or how it is judged",
            remedy="Set it in the declaration: trials would no longer be comparable.",
        )
