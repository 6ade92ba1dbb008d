"""Histories that were seen last."""

import time

from polyrec.serve.stores.known import KnownErasures, KnownHistories
from polyrec.serve.stores.records import Event


def event(identifier: str, user: str = "u", at: float = 0) -> Event:
    return Event(id=identifier, user=user, item="i", type="click", time=at)


def ids(events: list[Event]) -> list[str]:
    return [one.id for one in events]


def test_what_came_in_stands_where_its_time_says_and_once():
    known = KnownHistories(users=10)
    known.learn("u", [event("a", at=1), event("c", at=3)], time.monotonic())
    known.add([event("b", at=1), event("c", at=3), event("d", at=4)], is_stored=True, arrived_at=time.monotonic())
    assert ids(known.recall("u", 10)) == ["a", "b", "c", "d"]
    assert ids(known.recall("u", 2, before=4)) == ["b", "c"]


def test_users_that_were_not_met_are_learned_only_where_nobody_else_knows_them():
    known = KnownHistories(users=10)
    known.add([event("a")], is_stored=True, arrived_at=time.monotonic())
    assert known.recall("u", 10) == []
    known.add([event("a")], is_stored=False, arrived_at=time.monotonic())
    assert ids(known.recall("u", 10)) == ["a"]


def test_an_answer_that_is_older_than_what_came_in_is_not_learned():
    known = KnownHistories(users=10)
    asked = time.monotonic()
    known.add([event("new")], is_stored=False, arrived_at=time.monotonic())
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
        known.add([event(f"{number}", at=number)], is_stored=False, arrived_at=time.monotonic())
    assert ids(known.recall("u", 1000)) == [f"{number}" for number in range(44, 300)]


def test_what_came_in_before_its_user_was_forgotten_is_left_out():
    known = KnownHistories(users=10)
    came = time.monotonic()
    known.forget("u")
    known.add([event("erased"), event("kept", "v")], is_stored=False, arrived_at=came)
    assert known.recall("u", 10) == [] and ids(known.recall("v", 10)) == ["kept"]
    known.add([event("after")], is_stored=False, arrived_at=time.monotonic())
    assert ids(known.recall("u", 10)) == ["after"]


def test_many_who_were_forgotten_are_no_way_back_for_one_of_them():
    known = KnownHistories(users=10)
    came = time.monotonic()
    known.forget("u")
    for number in range(2000):
        known.forget(f"{number}")
    known.add([event("erased")], is_stored=False, arrived_at=came)
    assert known.recall("u", 10) == []


def test_users_of_whom_something_holds_are_forgotten():
    known = KnownHistories(users=10)
    for user in ("a", "b"):
        known.learn(user, [event("1", user)], time.monotonic())
    known.forget_where(lambda user: user == "a")
    assert known.recall("a", 10) == [] and ids(known.recall("b", 10)) == ["1"]


def test_erasures_are_known_once_the_store_told_some_or_none():
    known = KnownErasures()
    assert known.recall(b"a") is None and known.count == -1
    known.add(b"a")
    assert known.recall(b"a") is True and known.recall(b"b") is None and known.count == -1
    assert set(known.learn([b"a", b"c"])) == {b"c"}
    assert (known.recall(b"a"), known.recall(b"b"), known.recall(b"c"), known.count) == (True, False, True, 2)
    assert set(known.learn([])) == set() and known.count == 2
