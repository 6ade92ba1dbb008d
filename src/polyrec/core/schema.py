"""The JSON schema of a spec with every kind of every family, for completion in editors."""

from __future__ import annotations

from typing import Any

from polyrec.core.spec import FAMILY_MARK, Spec, families, kinds


def json_schema(root: type[Spec]) -> dict[str, Any]:
    """Return the JSON schema (draft 2020-12) of `root` and of all kinds registered at the time of the call.

    The definition of a kind is named by family and kind, `poolings.Mean`, so that kinds of two families may share a name.
    """
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **root.model_json_schema()}
    definitions: dict[str, Any] = schema.pop("$defs", {})
    for name in families():
        members = kinds(name)
        for kind, cls in members.items():
            body = cls.model_json_schema()
            definitions.update(body.pop("$defs", {}))
            definitions[f"{name}.{kind}"] = body
        bare = [kind for kind, cls in members.items() if not any(field.is_required() for field in cls.model_fields.values())]
        definitions[name] = {
            "anyOf": [*({"$ref": f"#/$defs/{name}.{kind}"} for kind in members), *([{"enum": bare}] if bare else [])]
        }
    filled = _fill({**schema, "$defs": definitions})
    assert isinstance(filled, dict)
    return filled


def _fill(node: Any) -> Any:
    """Replace every family mark with a reference to the family's definition."""
    if isinstance(node, dict):
        filled = {key: _fill(value) for key, value in node.items() if key != FAMILY_MARK}
        if FAMILY_MARK in node:
            filled["$ref"] = f"#/$defs/{node[FAMILY_MARK]}"
        return filled
    return [_fill(value) for value in node] if isinstance(node, list) else node
