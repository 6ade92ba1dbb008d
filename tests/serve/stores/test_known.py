"""Histories that were seen last."""

import time

from polyrec.serve.stores.known import KnownHistories
from polyrec.serve.stores.records import Event


def event(identifier: str, user: str = "u", at: float = 0) -> Event:
    return Event(id=identifier, user=user, item="i", type="click", time=at)


def ids(events: list[Event]) -> list[str]:
    return [one.id for one in events]


def test_what_came_in_stands_where_its_time_says_and_once():
    known = KnownHistories(users=10)
    known.learn("u", [event("a", at=1), event("c", at=3)], time.monotonic())
    known.add([event("b", at=1), event("c", at=3), event("d", at=4)], is_known_elsewhere=True, came=time.monotonic())
    assert ids(known.recall("u", 10)) == ["a", "b", "c", "d"]
    assert ids(known.recall("u", 2, before=4)) == ["b", "c"]


def test_users_that_were_not_met_are_learned_only_where_nobody_else_knows_them():
    known = KnownHistories(users=10)
    known.add([event("a")], is_known_elsewhere=True, came=time.monotonic())
    assert known.recall("u", 10) == []
    known.add([event("a")], is_known_elsewhere=False, came=time.monotonic())
    assert ids(known.recall("u", 10)) == ["a"]


def test_an_answer_that_is_older_than_what_came_in_is_not_learned():
    known = KnownHistories(users=10)
    asked = time.monotonic()
    known.add([event("new")], is_known_elsewhere=False, came=time.monotonic())
    known.learn("u", [], asked)
    assert ids(known.recall("u", 10)) == ["new"]
    asked = time.monotonic()
    known.forget("v")
    known.learn("v", [event("erased", "v")], asked)
    assert known.recall("v", 10) == []


def test_users_met_last_and_their_newest_events_are_kept():
    known = KnownHistories(users=2)
    for number in range(3):
        known.learn(f"{number}", [event("a")], time.monotonic())
    assert [len(known.recall(f"{number}", 10)) for number in range(3)] == [0, 1, 1]
    for number in range(300):
        known.add([event(f"{number}", at=number)], is_known_elsewhere=False, came=time.monotonic())
    assert ids(known.recall("u", 1000)) == [f"{number}" for number in range(44, 300)]
