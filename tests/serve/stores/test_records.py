"""What records refuse, and that they say why."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from polyrec.serve.stores.records import Event, ItemChange, ServedItem, ServedList

EVENT: dict[str, Any] = {"id": "e", "user": "u", "item": "i", "type": "rate", "time": 1.5, "values": {"rating": 5}}


def test_whole_numbers_become_floats_and_nothing_else_changes_its_type():
    event = Event(**{**EVENT, "values": {"rating": 5, "is_new": True, "page": "home", "none": None}})
    assert event.values == {"rating": 5.0, "is_new": True, "page": "home", "none": None}
    assert [type(value) for value in event.values.values()] == [float, bool, str, type(None)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": ""}, "at least 1 character"),
        ({"user": "u" * 257}, "at most 256 characters"),
        ({"type": "t" * 65}, "at most 64 characters"),
        ({"id": "a\x00"}, "NUL"),
        ({"item": "\ud800"}, "unicode"),
        ({"item": 5}, "valid string"),
        ({"time": float("nan")}, "finite number"),
        ({"time": "1"}, "valid number"),
        ({"time": True}, "valid number"),
        ({"values": {"a": float("inf")}}, "finite number"),
        ({"values": {"a": [1]}}, "valid"),
        ({"values": {"a": "b\x00"}}, "NUL"),
        ({"values": {"a\x00": 1}}, "NUL"),
        ({"values": {"a": "b" * 4097}}, "at most 4096 characters"),
        ({"values": {str(number): 1 for number in range(65)}}, "at most 64 items"),
        ({"tiem": 1}, "has no field 'tiem'. Did you mean 'time'?"),
    ],
)
def test_events_that_cannot_be_kept_are_refused(change: dict[str, Any], message: str):
    with pytest.raises(ValidationError) as caught:
        Event(**{**EVENT, **change})
    assert message in str(caught.value)


@pytest.mark.parametrize("change", [{"position": 0}, {"propensity": 0.0}, {"propensity": 1.5}, {"score": float("nan")}])
def test_items_that_were_not_served_so_are_refused(change: dict[str, Any]):
    with pytest.raises(ValidationError):
        ServedItem(**{"item": "i", "position": 1, "score": 0.5, **change})


@pytest.mark.parametrize("columns", [{"a": float("nan")}, {"a": ["\x00"]}, {"a": {"b": "\ud800"}}, {"a": {"\x00": 1}}])
def test_columns_that_are_no_json_of_a_database_are_refused(columns: dict[str, Any]):
    with pytest.raises(ValidationError):
        ItemChange(item="i", columns=columns)


def test_an_item_of_a_list_is_as_wide_as_a_model():
    name = "a class of a very long name that goes on and on for more than sixty-four letters"
    predictions = {f"{name} {number}": 0.5 for number in range(999)}
    served = ServedItem(item="http://x/" + "p" * 500, position=1, score=0.5, predictions=predictions)
    assert ServedItem.model_validate_json(served.model_dump_json()) == served
    assert ServedItem(item="", position=1, score=0.5).item == ""


def test_a_list_of_an_older_store_was_shown():
    old = '{"request": "r", "time": 1.0, "user": null, "model": "m", "items": []}'
    assert ServedList.model_validate_json(old).shown is True


class TestOver:
    def test_columns_told_now_count_and_the_others_stay(self):
        change = ItemChange(item="i", columns={"price": 2.5, "title": None})
        assert json.loads(change.over('{"price": 1.0, "stock": 3, "title": "a"}')) == {"price": 2.5, "stock": 3, "title": None}
        assert json.loads(change.over(None)) == {"price": 2.5, "title": None}

    def test_an_item_that_was_taken_away_begins_anew(self):
        assert ItemChange(item="i", columns=None).over('{"price": 1.0}') == "null"
        assert json.loads(ItemChange(item="i", columns={"stock": 1}).over("null")) == {"stock": 1}


def test_a_list_may_be_given_as_json():
    served = ServedList(request="r", time=1, user=None, model="m", items=[ServedItem(item="i", position=1, score=1)])
    assert ServedList.model_validate_json(served.model_dump_json()) == served
