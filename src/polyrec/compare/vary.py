"""Arms from options that vary fields of the declaration."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from polyrec.core.errors import UserError
from polyrec.core.paths import get_path, with_path
from polyrec.core.spec import Spec
from polyrec.recommender import Recommender
from polyrec.tasks.task import Task


@dataclass(frozen=True)
class Arm:
    """One of the compared declarations."""

    name: str
    """Values of the varied fields, for tables."""
    spec: Recommender
    """The declaration."""
    as_given: bool
    """Set if it is the unchanged declaration."""


def read_options(options: Sequence[str]) -> dict[str, list[Any]]:
    """Return the values of each field from options `FIELD=VALUE` with the value in YAML, in the order given."""
    varied: dict[str, list[Any]] = {}
    for option in options:
        field, sign, text = option.partition("=")
        if not sign or not field.strip() or not text.strip():
            remedy = "Write --vary network=PLE or --vary 'network={kind: PLE, own: 1}'."
            raise UserError(f"option --vary {option!r}", expected="FIELD=VALUE", found="a different form", remedy=remedy)
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            found = str(error).splitlines()[0]
            remedy = "Quote the option, and write the value as YAML."
            raise UserError(f"option --vary {option!r}", expected="a value in YAML", found=found, remedy=remedy) from error
        varied.setdefault(field.strip(), []).append(value)
    return varied


def make_arms(spec: Recommender, varied: Mapping[str, Sequence[Any]], one_at_a_time: bool) -> list[Arm]:
    """Return the declaration and its variants: the full grid, or one changed field at a time.

    Equal variants are merged into one arm. Raises `UserError` for an invalid field or value, and for a change of the tasks or
    labels, since such arms are not comparable.
    """
    choices: list[dict[str, Any]]
    if one_at_a_time:
        choices = [{}, *({field: value} for field, values in varied.items() for value in values)]
    else:
        options = [[None, *([value] for value in values)] for values in varied.values()]
        picks = itertools.product(*options)
        choices = [{f: option[0] for f, option in zip(varied, pick, strict=True) if option is not None} for pick in picks]
    arms: list[tuple[Recommender, list[str]]] = []
    for choice in choices:
        shown = list(choice) if one_at_a_time and choice else list(varied) or ["network", "balancing"]
        changed = _change(spec, choice)
        if changed not in [variant for variant, _ in arms]:
            arms.append((changed, shown))
    specs = [variant for variant, _ in arms]
    names = [" · ".join(_name(field, variant, specs) for field in shown) for variant, shown in arms]
    return [Arm(name, variant, variant == spec) for name, variant in zip(_unique(names), specs, strict=True)]


def _change(spec: Recommender, choice: Mapping[str, Any]) -> Recommender:
    changed = spec
    for field, value in choice.items():
        changed = with_path(changed, field, value)
    written = ", ".join(f"{field}={value}" for field, value in choice.items())
    if _learned(changed) != _learned(spec):
        remedy = "Compare declarations of the same tasks."
        raise UserError(f"--vary {written}", expected="the same tasks and labels", found="different ones", remedy=remedy)
    if changed.training.seed != spec.training.seed:
        raise UserError(f"--vary {written}", expected="another field", found="the seed", remedy="Use --seeds N.")
    return changed


def _learned(spec: Recommender) -> list[tuple[str, type[Task], str]]:
    return [(task.name, type(task), task.label) for task in spec.tasks]


def _name(field: str, spec: Recommender, specs: Sequence[Recommender]) -> str:
    """Return a name for the value of a field; values of the same kind are distinguished by their differing fields."""
    value, others = _value(spec, field), [_value(other, field) for other in specs]
    if not isinstance(value, dict) or "kind" not in value:
        return f"{field.rsplit('.', 1)[-1]}={_text(value)}"
    same_kind = [other for other in others if isinstance(other, dict) and other.get("kind") == value["kind"]]
    differing = [key for key in value if any(other[key] != value[key] for other in same_kind)]
    texts = [text for key in differing for text in _fields(key, value[key])]
    return value["kind"] + (f"({', '.join(texts)})" if texts else "")


def _value(spec: Recommender, field: str) -> Any:
    """Return the value of a field as JSON; None if the declaration does not have the field, as after a change of its parent."""
    try:
        value = get_path(spec, field)
    except UserError:
        return None
    return value.model_dump(mode="json") if isinstance(value, Spec) else value


def _fields(key: str, value: Any) -> list[str]:
    if isinstance(value, dict) and "kind" not in value:
        return [f"{name}={_text(part)}" for name, part in value.items()]
    return [f"{key}={_text(value)}"]


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    if isinstance(value, list | tuple):
        return "-".join(map(_text, value)) or "none"
    if isinstance(value, dict):
        parts = [f"{name}={_text(part)}" for name, part in value.items() if name != "kind"]
        return str(value.get("kind", "")) + (f"({', '.join(parts)})" if parts else "")
    return "none" if value is None else str(value)


def _unique(names: Sequence[str]) -> list[str]:
    """Number equal names."""
    return [f"{name} #{names[:place].count(name) + 1}" if names.count(name) > 1 else name for place, name in enumerate(names)]
