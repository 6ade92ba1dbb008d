"""What must hold of the ranges of a search: they lead to settings, their values fit, and they leave alone what is judged."""

from __future__ import annotations

from collections.abc import Mapping

from polyrec.core.errors import UserError
from polyrec.core.paths import get_path, has_path, with_path
from polyrec.core.spec import Spec
from polyrec.ranges.choice import Choice
from polyrec.ranges.range import Range

_JUDGING = ("tasks", "relevant", "search", "training.seed", "training.split", "training.utility", "training.refit")
"""Settings that say what is learned, or on which rows and by what measure it is judged; of a task, its name and labels."""


def check_ranges(spec: Spec, ranges: Mapping[str, Range]) -> None:
    """Raise `UserError` where a range leads nowhere, does not fit the setting, or would change what the trials are judged by.

    A range may lead below a part that another range chooses, such as `network.experts` beside `network`: it then has to fit one
    of the options at least.
    """
    for path in in_order(ranges):
        _refuse_judging(path)
        places = [place for place in _variants(spec, ranges, path) if has_path(place, path)]
        if not places:
            get_path(spec, path)
        for value in ranges[path].ends():
            with_path(places[0], path, value)


def in_order(ranges: Mapping[str, Range]) -> list[str]:
    """Return the paths so that a part comes before what lies below it."""
    return sorted(ranges, key=lambda path: path.count("."))


def _variants(spec: Spec, ranges: Mapping[str, Range], path: str) -> list[Spec]:
    """Return the spec, and the spec with each option of the choices above a path."""
    variants = [spec]
    for above in in_order(ranges):
        chosen = ranges[above]
        if path.startswith(f"{above}.") and isinstance(chosen, Choice):
            variants += [with_path(own, above, option) for own in variants if has_path(own, above) for option in chosen.options]
    return variants


def _refuse_judging(path: str) -> None:
    parts = path.split(".")
    below_task = parts[0] == "tasks" and len(parts) > 2 and parts[2] not in ("name", "label", "after")
    if not below_task and any(path == own or path.startswith(f"{own}.") for own in _JUDGING):
        raise UserError(
            f"range of {path!r}",
            expected="a setting that changes how well is learned",
            found="one that changes what is learned, or how it is judged",
            remedy="Trials would no longer be comparable: set it in the declaration.",
        )
