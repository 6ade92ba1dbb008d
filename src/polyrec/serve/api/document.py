"""The OpenAPI document of the server, with every kind of rule in it."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from polyrec.core.spec import kinds

_REFERENCE = "#/components/schemas/{model}"


def document(app: FastAPI) -> dict[str, Any]:
    """Return the document, made once."""
    if app.openapi_schema is None:
        found = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        schemas = found["components"]["schemas"]
        for kind, rule in kinds("rules").items():
            own = rule.model_json_schema(ref_template=_REFERENCE)
            schemas |= own.pop("$defs", {})
            schemas[kind] = own
        schemas["Rule"] = {"anyOf": [{"$ref": _REFERENCE.format(model=kind)} for kind in kinds("rules")]}
        app.openapi_schema = found
    return app.openapi_schema
