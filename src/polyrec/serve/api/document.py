"""The OpenAPI document of the server, including the schema of every rule."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from polyrec.core.spec import kinds

_REFERENCE = "#/components/schemas/{model}"


def document(app: FastAPI) -> dict[str, Any]:
    """Return the document; it is built once."""
    if app.openapi_schema is None:
        openapi = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        schemas = openapi["components"]["schemas"]
        for kind, rule in kinds("rules").items():
            schema = rule.model_json_schema(ref_template=_REFERENCE)
            schemas |= schema.pop("$defs", {})
            schemas[kind] = schema
        schemas["Rule"] = {"anyOf": [{"$ref": _REFERENCE.format(model=kind)} for kind in kinds("rules")]}
        app.openapi_schema = openapi
    return app.openapi_schema
