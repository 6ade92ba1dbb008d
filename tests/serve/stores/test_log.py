"""The log as a frame, beside its definition by brute force."""

import random
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from polyrec.serve.stores.log import export_log
from polyrec.serve.stores.opening import open_store
from polyrec.serve.stores.records import Event, ServedItem, ServedList
from polyrec.serve.stores.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(f"sqlite:///{tmp_path}/a.sqlite") as store:
        yield store


def served(request: str, at: float, user: str | None, *items: str) -> ServedList:
    rows = [
        ServedItem(item=item, position=place, score=1 / place, predictions={"like": 0.5}) for place, item in enumerate(items, 1)
    ]
    return ServedList(request=request, time=at, user=user, model="m", items=tuple(rows))


def event(identifier: str, at: float, item: str, kind: str = "click", user: str = "u", **values: float | str | bool) -> Event:
    return Event(id=identifier, user=user, item=item, type=kind, time=at, values=values)


def test_nothing_served_is_an_empty_table(store: Store):
    frame = export_log(store, window=10)
    assert frame.columns == ["request", "time", "user", "item", "position", "score", "propensity", "model", "shown"]
    assert frame.is_empty()


def test_events_count_for_the_last_serving_before_them_within_the_window(store: Store):
    store.log_lists(
        [
            served("r1", 100, "u", "a", "b"),
            served("r2", 105, "u", "a"),
            served("r3", 100, None, "a"),
            served("r4", 195, "u", "a"),
        ]
    )
    store.append([event("1", 104, "a"), event("2", 106, "a"), event("3", 107, "a"), event("4", 99, "b"), event("5", 111, "b")])
    store.append(
        [event("6", 109, "b", "rate", rating=3), event("7", 110, "b", "rate", rating=4), event("8", 101, "a", user="v")]
    )
    frame = export_log(store, window=10, until=200)
    assert frame.select("request", "item", "position", "event.click", "event.rate", "event.rate.rating").rows() == [
        ("r1", "a", 1, 1, 0, None),
        ("r1", "b", 2, 0, 2, 4.0),
        ("r2", "a", 1, 2, 0, None),
        ("r3", "a", 1, None, None, None),
        ("r4", "a", 1, None, None, None),
    ]
    assert frame["prediction.like"].to_list() == [0.5] * 5
    assert frame["propensity"].null_count() == 5


def test_a_list_in_the_shadow_takes_no_event_from_the_list_that_was_shown(store: Store):
    shadow = served("r-shadow", 101, "u", "a", "b").replace(shown=False)
    store.log_lists([served("r", 100, "u", "a"), shadow])
    store.append([event("1", 102, "a"), event("2", 103, "b")])
    frame = export_log(store, window=10, until=200)
    assert frame.select("request", "item", "shown", "event.click").rows() == [
        ("r", "a", True, 1),
        ("r-shadow", "a", False, None),
        ("r-shadow", "b", False, None),
    ]


def test_values_of_mixed_types_become_text_and_others_keep_theirs(store: Store):
    store.log_lists([served("r", 0, "u", "a", "b")])
    store.append([event("1", 1, "a", mixed=1.5, is_new=True, page="x"), event("2", 1, "b", mixed="two", is_new=False)])
    frame = export_log(store, window=10)
    assert frame["event.click.mixed"].to_list() == ["1.5", "two"]
    assert frame["event.click.is_new"].to_list() == [True, False]
    assert frame["event.click.page"].to_list() == ["x", None]


def test_an_erased_user_is_in_it_without_a_name_or_events(store: Store):
    store.log_lists([served("r", 0, "u", "a"), served("s", 0, "v", "a")])
    store.append([event("1", 1, "a"), event("2", 1, "a", user="v")])
    store.erase("u")
    assert export_log(store, window=10).select("user", "event.click").rows() == [(None, None), ("v", 1)]


def test_it_is_the_definition(store: Store):
    draw = random.Random(0)
    lists = [served(f"r{n}", draw.randrange(50), draw.choice("uv"), *draw.sample("abcd", 2)) for n in range(60)]
    events = [event(f"{n}", draw.randrange(60) + 0.5, draw.choice("abcd"), user=draw.choice("uv")) for n in range(200)]
    store.log_lists(lists)
    store.append(events)
    frame = export_log(store, window=7, until=1000)
    rows = [(one.request, one.time, one.user, item.item) for one in lists for item in one.items]
    counts = dict.fromkeys(range(len(rows)), 0)
    for one in events:
        matches = [(row[1], place) for place, row in enumerate(rows) if row[2:] == (one.user, one.item) and row[1] <= one.time]
        if matches and one.time - max(matches)[0] <= 7:
            counts[max(matches)[1]] += 1
    assert frame["event.click"].sum() == sum(counts.values())
    by_time = frame.group_by("user", "item", "time").agg(pl.col("event.click").sum())
    for user, item, at, count in by_time.rows():
        assert count == sum(counts[place] for place, row in enumerate(rows) if row[1:] == (at, user, item))
