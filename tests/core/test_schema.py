"""The JSON schema: what it accepts is what the specs accept."""

import json

import jsonschema
import pytest
import yaml

from polyrec import Recommender, families, json_schema, kinds


@pytest.fixture(scope="module")
def schema() -> dict:
    return json_schema(Recommender)


def test_is_a_valid_schema_and_json(schema: dict):
    jsonschema.Draft202012Validator.check_schema(schema)
    assert json.loads(json.dumps(schema)) == schema


def test_holds_every_kind_with_its_name_as_a_constant(schema: dict):
    for family in families():
        for name in kinds(family):
            assert schema["$defs"][f"{family}.{name}"]["properties"]["kind"] == {"const": name}


def test_every_field_is_described(schema: dict):
    bare = [
        f"{name}.{field}"
        for name, body in {**schema["$defs"], "Recommender": schema}.items()
        for field, definition in body.get("properties", {}).items()
        if field != "kind" and not definition.get("description")
    ]
    assert bare == []


@pytest.mark.parametrize("name", [(family, name) for family in families() for name in kinds(family)], ids=lambda pair: pair[1])
def test_every_example_of_every_kind_fits(schema: dict, name: tuple[str, str]):
    family, kind = name
    validator = jsonschema.Draft202012Validator({"$ref": f"#/$defs/{family}", "$defs": schema["$defs"]})
    examples = kinds(family)[kind].examples
    assert examples
    for example in examples:
        validator.validate({"kind": kind, **example})


@pytest.mark.parametrize("after", ["click", ["click", "like"], {"kind": "Transfer", "tasks": ["click"]}, None])
def test_a_link_may_be_written_short(schema: dict, after: object):
    validator = jsonschema.Draft202012Validator({"$ref": "#/$defs/tasks", "$defs": schema["$defs"]})
    assert validator.is_valid({"kind": "Binary", "name": "buy", "label": "bought", "after": after})
    assert not validator.is_valid({"kind": "Binary", "name": "buy", "label": "bought", "after": {"click": 1}})
    assert not validator.is_valid({"kind": "Binary", "name": "buy", "label": "bought", "after": 5})


def test_a_kind_that_needs_nothing_may_be_written_as_its_name(schema: dict):
    validator = jsonschema.Draft202012Validator({"$ref": "#/$defs/networks", "$defs": schema["$defs"]})
    validator.validate("MMoE")
    with pytest.raises(jsonschema.ValidationError):
        validator.validate("MMOE")


@pytest.mark.parametrize(
    "text",
    [
        "tasks: []",
        "tasks: [{kind: Binary, name: a}]",
        "tasks: [{kind: Nothing, name: a, label: b}]",
        "tasks: [{name: a, label: b}]",
    ],
)
def test_what_the_spec_refuses_the_schema_refuses(schema: dict, text: str):
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml.safe_load(text), schema)
