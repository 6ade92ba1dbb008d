"""Dotted paths into a spec: `training.learning_rate`, `balancing.weights.like`, `tasks.stars.dropout`, `network.hidden.0`.

A part of a path is a field of a spec, a key of a mapping, the name of a spec in a sequence (its `name`), or a position.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from polyrec.core.errors import UserError, describe, nearest
from polyrec.core.spec import Spec

S = TypeVar("S", bound=Spec)


def get_path(spec: Spec, path: str) -> Any:
    """Return the value at a path; raise `UserError` with the nearest name if the path does not exist."""
    node: Any = spec
    rest = _parts(path)
    while rest:
        key, rest = _step(node, rest, path)
        if isinstance(node, Mapping) and key not in node:
            raise _missing(path, key, list(node))
        node = getattr(node, key) if isinstance(node, Spec) else node[key]
    return node


def with_path(spec: S, path: str, value: Any) -> S:
    """Return a validated copy of the spec with `value` at a path; a missing key of a mapping is added.

    Raises `UserError` with the nearest name if the path does not exist, and if the spec rejects the value.
    """
    try:
        changed = _changed(spec, _parts(path), value, path)
    except ValidationError as error:
        raise UserError(
            f"{path} = {value!r}", expected="a value that fits", found=describe(error), remedy="Choose another value."
        ) from error
    assert isinstance(changed, type(spec))
    return changed


def has_path(spec: Spec, path: str) -> bool:
    """Return whether `with_path` accepts a path; a missing key of a mapping is accepted."""
    node: Any = spec
    try:
        rest = _parts(path)
        while rest:
            key, rest = _step(node, rest, path)
            if isinstance(node, Mapping) and key not in node:
                return True
            node = getattr(node, key) if isinstance(node, Spec) else node[key]
    except UserError:
        return False
    return True


def _changed(node: Any, rest: list[str], value: Any, path: str) -> Any:
    if not rest:
        return value
    key, rest = _step(node, rest, path)
    if isinstance(node, Spec):
        return node.replace(**{key: _changed(getattr(node, key), rest, value, path)})
    if isinstance(node, Mapping):
        return {**node, key: _changed(node.get(key), rest, value, path)}
    return (*node[:key], _changed(node[key], rest, value, path), *node[key + 1 :])


def _step(node: Any, rest: list[str], path: str) -> tuple[Any, list[str]]:
    """Return the field, key or position named by the path's next part, and the remaining parts."""
    part = rest[0]
    if isinstance(node, Spec):
        fields = type(node).model_fields
        if part not in fields:
            raise _missing(path, part, fields)
        return part, rest[1:]
    if isinstance(node, Mapping):
        # A key may contain dots, such as `like.auc` in a utility: the longest existing key is taken, else all remaining parts.
        matches = [count for count in range(1, len(rest)) if ".".join(rest[:count]) in node]
        count = matches[-1] if matches else len(rest)
        return ".".join(rest[:count]), rest[count:]
    if isinstance(node, tuple):
        names = [getattr(element, "name", None) for element in node]
        if part in names:
            return names.index(part), rest[1:]
        if part.isdecimal() and int(part) < len(node):
            return int(part), rest[1:]
        raise _missing(path, part, [name or str(position) for position, name in enumerate(names)])
    raise UserError(f"path {path!r}", expected=f"something with parts before {part!r}", found=f"{node!r}", remedy="Shorten it.")


def _parts(path: str) -> list[str]:
    parts = path.split(".")
    if not all(parts):
        raise UserError(
            f"path {path!r}", expected="names joined by dots", found="an empty name", remedy="Write 'network.hidden'."
        )
    return parts


def _missing(path: str, part: str, known: Any) -> UserError:
    return UserError(f"path {path!r}", expected="the path of a setting", found=f"no {part!r}", remedy=nearest(part, known))
