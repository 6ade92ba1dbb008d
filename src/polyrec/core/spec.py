"""`Spec`: a frozen, validated declaration; `Family`: interchangeable specs, distinguished by their `kind`."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_serializer, model_validator
from pydantic.annotated_handlers import GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from polyrec.core.errors import UserError, describe, nearest
from polyrec.core.files import write_text


class Spec(BaseModel):
    """A frozen declaration whose fields are Python arguments, YAML keys and JSON-schema properties."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, polymorphic_serialization=True, allow_inf_nan=False
    )

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_fields(cls, value: Any) -> Any:
        if isinstance(value, Mapping):
            for key in value:
                if key not in cls.model_fields:
                    raise ValueError(f"{cls.__name__} has no field {key!r}. {nearest(str(key), cls.model_fields)}")
        return value

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields changed; it is validated, unlike that of pydantic's `model_copy`."""
        return type(self)(**{**{name: getattr(self, name) for name in type(self).model_fields}, **changes})

    def to_yaml(self, path: str | Path | None = None) -> str:
        """Return the spec as YAML with every field, and write it to `path` if given.

        Defaults are included, so that an artifact does not change when a later version changes a default.
        """
        text = yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=120)
        if path is not None:
            write_text(Path(path), text)
        return text

    @classmethod
    def from_yaml(cls, source: str | Path) -> Self:
        """Read a spec from YAML: a `Path`, a one-line string that ends in .yaml or .yml, or the text itself.

        Raises `UserError` with one line for each invalid field.
        """
        is_path = isinstance(source, Path) or ("\n" not in source and source.strip().endswith((".yaml", ".yml")))
        where = f"file '{source}'" if is_path else "the YAML text"
        if is_path and not Path(source).is_file():
            raise UserError(where, expected=f"a {cls.__name__} in YAML", found="no such file", remedy="Check the path.")
        try:
            text = Path(source).read_text(encoding="utf-8") if is_path else str(source)
            value = yaml.load(text, Loader=_UniqueKeyLoader)
            return cls.model_validate(value)
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise UserError(where, expected="YAML", found=f"{error}", remedy="Fix the file.") from error
        except ValidationError as error:
            raise UserError(
                where,
                expected=f"a {cls.__name__}",
                found=describe(error),
                remedy="`polyrec schema` prints every field; `polyrec kinds` every kind.",
            ) from error


class Family(Spec):
    """Base of the families of interchangeable specs: features, networks, tasks, balancers, fusions, encoders, splits.

    `class Task(Family, family="tasks")` defines a family. Each subclass is a kind: once defined, it is registered
    under its class name for YAML, the JSON schema and `kinds()`. `class IdFeature(Feature, kind=False)` is a base of kinds, not
    a kind.
    """

    family: ClassVar[str] = ""
    examples: ClassVar[tuple[Mapping[str, Any], ...]] = ()
    """Arguments of valid instances, shown in the schema and used by the contract tests."""

    _kinds: ClassVar[dict[str, type[Family]]] = {}

    def __init_subclass__(cls, family: str | None = None, kind: bool = True, **options: Any) -> None:
        super().__init_subclass__(**options)
        if family is not None:
            cls.family, cls._kinds = family, {}
            _FAMILIES[family] = cls
        elif kind:
            cls._kinds[cls.__name__] = cls

    @classmethod
    def _is_kind(cls) -> bool:
        return cls._kinds.get(cls.__name__) is cls

    @model_validator(mode="wrap")
    @classmethod
    def _read_kind(cls, value: Any, handler: Callable[[Any], Self]) -> Self:
        """Dispatch `{"kind": "MMoE", …}` (or the bare name) to the class of that kind, if it is a kind of this class."""
        if isinstance(value, str) and not cls._is_kind():
            value = {"kind": value}
        if not isinstance(value, Mapping):
            return handler(value)
        fields = dict(value)
        kind = fields.pop("kind", None)
        if kind is None:
            if cls._is_kind():
                return handler(fields)
            raise ValueError(f"one of the {cls.family} needs a 'kind'. {nearest('', cls._kinds)}")
        target = cls._kinds.get(str(kind))
        if target is None or not issubclass(target, cls):
            raise ValueError(f"{kind!r} is not one of the {cls.family}. {nearest(str(kind), cls._kinds)}")
        return handler(fields) if target is cls else target.model_validate(fields)

    @model_serializer(mode="wrap")
    def _write_kind(self, handler: Callable[[Self], dict[str, Any]]) -> dict[str, Any]:
        return {"kind": type(self).__name__, **handler(self)}

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        if not cls._is_kind():
            return {FAMILY_MARK: cls.family}
        reference = handler(schema)
        body = handler.resolve_ref_schema(reference)
        body["properties"] = {"kind": {"const": cls.__name__}, **body.get("properties", {})}
        body["required"] = ["kind", *body.get("required", [])]
        if cls.examples:
            body["examples"] = [{"kind": cls.__name__, **example} for example in cls.examples]
        return reference


FAMILY_MARK = "x-polyrec-family"
"""Placeholder in a JSON schema for any kind of a family; `json_schema` replaces it."""

_FAMILIES: dict[str, type[Family]] = {}


def families() -> dict[str, type[Family]]:
    """Return the base class of every family by name."""
    return dict(_FAMILIES)


def kinds(family: str) -> dict[str, type[Family]]:
    """Return the kinds of a family by name, in alphabetical order."""
    if family not in _FAMILIES:
        raise UserError(f"family {family!r}", expected="a family of kinds", found="none", remedy=nearest(family, _FAMILIES))
    return dict(sorted(_FAMILIES[family]._kinds.items()))


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML loader that refuses duplicate keys; PyYAML silently keeps the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is written twice", node.start_mark)
        return super().construct_mapping(node, deep)
