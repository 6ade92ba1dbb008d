"""What holds for every kind of every family: it is described, it has examples, and YAML gives back what it was given."""

import re

import pytest
from pydantic import ValidationError

from polyrec import families, kinds
from polyrec.core.spec import Family


@pytest.mark.parametrize("family", sorted(families()))
def test_a_family_has_kinds(family: str):
    assert kinds(family)


def test_is_an_example_of_itself(kind: type[Family]):
    assert kind.examples
    for example in kind.examples:
        assert kind(**example).model_dump(include=set(example), mode="json").keys() == {"kind", *example}


def test_says_what_it_is_in_two_sentences_or_more(kind: type[Family]):
    sentences = re.findall(r"[.!?](?=\s+[A-Z`]|\s*$)", kind.__doc__ or "")
    assert len(sentences) >= 2


METHODS = ("tasks", "links", "trunks", "poolings", "networks", "balancers", "calibrators")
"""Families whose kinds come from papers."""

METHOD = [
    pytest.param(kind, id=f"{family}-{name}")
    for family in METHODS
    for name, kind in kinds(family).items()
    if kind.__module__.startswith("polyrec.")
]


def prose(method: type[Family]) -> str:
    """Return what a kind says of itself, on one line."""
    return " ".join((method.__doc__ or "").split())


@pytest.mark.parametrize("method", METHOD)
def test_states_its_formula(method: type[Family]):
    """In backticks, with a sign of equality or an operation, which no name of a field or kind has."""
    assert re.findall(r"`[^`]*(?: [-+=~/] |[-+*/^]|\blog |\w\()[^`]*`", prose(method))


@pytest.mark.parametrize("method", METHOD)
def test_names_its_authors_and_the_year(method: type[Family]):
    """An author begins with a capital; the venue may stand between: `Ma et al., KDD 2018`."""
    author, venue, year = r"[A-ZÀ-Þ][\w'-]+(?: et al\.)?,", r"[^.;:`()]{0,60}?", r"\b(?:1[89]|20)\d\d\b"
    assert re.findall(f"{author}{venue}{year}", prose(method))


def test_every_field_is_described(kind: type[Family]):
    assert [name for name, field in kind.model_fields.items() if not (field.description or "").strip()] == []


def test_no_field_can_be_set(kind: type[Family]):
    assert kind.model_config["frozen"]
    for example in kind.examples:
        spec = kind(**example)
        for field in kind.model_fields:
            with pytest.raises(ValidationError, match="frozen"):
                setattr(spec, field, getattr(spec, field))


def test_yaml_gives_back_an_example_through_its_family(kind: type[Family]):
    family = families()[kind.family]
    for example in kind.examples:
        spec = kind(**example)
        again = family.from_yaml(spec.to_yaml())
        assert type(again) is kind
        assert again == spec
        assert again.to_yaml() == spec.to_yaml()


def test_yaml_holds_every_field(kind: type[Family]):
    for example in kind.examples:
        written = re.findall(r"^(\w+):", kind(**example).to_yaml(), flags=re.MULTILINE)
        assert written == ["kind", *kind.model_fields]


def test_a_field_that_it_does_not_have_is_refused(kind: type[Family]):
    for example in kind.examples:
        with pytest.raises(ValidationError, match=f"{kind.__name__} has no field 'colour_of_the_sky'"):
            kind(**example, colour_of_the_sky="blue")
