"""Stores that go away and come back: what was acknowledged is there, in order, and nobody waits."""

import logging
import os
import resource
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from polyrec import UserError
from polyrec.serve.stores.durable import Durable, Receipt
from polyrec.serve.stores.journal import Appending, Erasing, Journal, Serving
from polyrec.serve.stores.journals import free_journal
from polyrec.serve.stores.opening import open_store
from polyrec.serve.stores.records import Event, ItemChange, ServedItem, ServedList
from polyrec.serve.stores.store import UnavailableError


def event(identifier: str, user: str = "u", at: float = 0) -> Event:
    return Event(id=identifier, user=user, item="i", type="click", time=at)


def ids(events: list[Event]) -> list[str]:
    return [one.id for one in events]


def wait_until(holds: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


Opening = Callable[..., Durable]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opening]:
    """Open a store and a journal in a folder of the test, closed after it."""
    held: list[Durable] = []

    def open_(url: str, **options: Any) -> Durable:
        limit = options.pop("limit", 2**20)
        durable = Durable(partial(open_store, url, timeout=0.5), Journal(tmp_path / "journal", limit), pause=0.02, **options)
        held.append(durable)
        return durable

    yield open_
    for durable in held:
        durable.close()


def test_without_trouble_it_is_the_store(opened: Opening, tmp_path: Path):
    durable = opened(f"sqlite:///{tmp_path}/a.sqlite")
    assert durable.append([event("a"), event("b", at=1)]) == Receipt(2)
    assert durable.append([event("a")]) == Receipt(0)
    recalled = durable.history("u", 10)
    assert ids(recalled.events) == ["a", "b"]
    assert recalled.is_current and durable.is_up and durable.waiting == 0
    durable.erase("u")
    assert durable.history("u", 10).events == []
    assert durable.erased_at("u") is not None
    assert durable.put_items([ItemChange(item="i", columns={})]) == durable.items_since(0)[0].sequence
    assert durable.counters()["erasures"] == 1


def test_a_store_that_is_down_is_made_up_for(opened: Opening, redis_server: Any, caplog: pytest.LogCaptureFixture):
    durable = opened(redis_server.url)
    durable.append([event("a"), event("x", "erased"), event("y", "unseen")])
    durable.history("u", 10)
    durable.history("erased", 10)
    redis_server.stop()
    with caplog.at_level(logging.WARNING):
        assert durable.append([event("b", at=1)]) == Receipt(None)
    assert "Events wait in the journal" in caplog.text and "s3cret" not in caplog.text
    assert not durable.is_up and durable.waiting > 0
    recalled = durable.history("u", 10)
    assert ids(recalled.events) == ["a", "b"] and not recalled.is_current
    assert durable.history("unseen", 10).events == []
    durable.erase("erased")
    assert durable.history("erased", 10).events == []
    assert durable.erased_at("erased") == pytest.approx(time.time(), abs=60)
    durable.append([event("z", "erased")])
    assert ids(durable.history("erased", 10).events) == ["z"]
    for question in (
        durable.counters,
        lambda: durable.erased_at("u"),
        lambda: durable.items_since(0),
        lambda: durable.put_items([]),
    ):
        with pytest.raises(UnavailableError, match="found none since its last failure"):
            question()
    redis_server.start()
    wait_until(lambda: durable.waiting == 0)
    with open_store(redis_server.url) as store:
        assert ids(store.history("u", 10)) == ["a", "b"]
        assert ids(store.history("erased", 10)) == ["z"]
        assert store.erased("erased")
    assert durable.append([event("c", at=2)]) == Receipt(1)
    assert durable.history("u", 10).is_current
    assert ids(durable.history("erased", 10).events) == ["z"]


def test_what_waited_for_an_erased_user_does_not_come_back(opened: Opening, redis_server: Any):
    durable = opened(redis_server.url)
    redis_server.stop()
    durable.append([event("a"), event("b", "v")])
    redis_server.start()
    with open_store(redis_server.url) as other:
        other.erase("u")
    wait_until(lambda: durable.waiting == 0)
    assert durable.history("u", 10).events == []
    assert ids(durable.history("v", 10).events) == ["b"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["redis", "postgresql"])
def test_a_store_that_is_killed_and_started_under_load_loses_nothing(
    opened: Opening, kind: str, request: pytest.FixtureRequest
):
    server = request.getfixturevalue(f"{kind}_server")
    durable = opened(server.url, limit=2**26)
    sent: defaultdict[str, list[str]] = defaultdict(list)
    receipts: list[Receipt] = []
    is_over = False

    def append(thread: int) -> None:
        number = 0
        while not is_over:
            receipts.append(durable.append([event(f"{thread}-{number}", f"u{thread}", number)]))
            sent[f"u{thread}"].append(f"{thread}-{number}")
            number += 1

    threads = [Thread(target=append, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(receipts) > 20)
    server.kill()
    wait_until(lambda: not durable.is_up)
    before = len(receipts)
    wait_until(lambda: len(receipts) > before + 20)
    server.start()
    wait_until(lambda: durable.is_up)
    is_over = True
    for thread in threads:
        thread.join()
    wait_until(lambda: durable.waiting == 0)
    assert any(receipt.new is None for receipt in receipts)
    for user, identifiers in sent.items():
        recalled = durable.history(user, 100_000)
        assert recalled.is_current
        assert ids(recalled.events) == identifiers


def test_requests_do_not_hang_on_a_server_that_does(opened: Opening, redis_server: Any):
    durable = opened(redis_server.url)
    os.kill(redis_server.process.pid, signal.SIGSTOP)
    try:
        start = time.monotonic()
        assert durable.append([event("a")]) == Receipt(None)
        assert time.monotonic() - start < 4
        start = time.monotonic()
        assert durable.append([event("b")]) == Receipt(None)
        assert not durable.history("u", 10).is_current
        assert time.monotonic() - start < 0.4
    finally:
        os.kill(redis_server.process.pid, signal.SIGCONT)
    wait_until(lambda: durable.waiting == 0)
    assert ids(durable.history("u", 10).events) == ["a", "b"]


def test_it_starts_while_the_store_is_down_with_what_waited_before(redis_server: Any, tmp_path: Path):
    redis_server.stop()
    first = Durable(partial(open_store, redis_server.url), Journal(tmp_path / "journal"))
    first.append([event("a"), event("b", "erased")])
    first.erase("erased")
    first.close()
    second = Durable(partial(open_store, redis_server.url), Journal(tmp_path / "journal"), pause=0.02)
    try:
        assert ids(second.history("u", 10).events) == ["a"]
        assert second.history("erased", 10).events == []
        assert second.erased_at("erased") is not None
        redis_server.start()
        wait_until(lambda: second.waiting == 0)
        assert ids(second.history("u", 10).events) == ["a"]
        assert second.history("u", 10).is_current
        assert second.history("erased", 10).events == []
    finally:
        second.close()


def test_a_full_journal_is_told_and_what_was_taken_before_is_kept(opened: Opening, redis_server: Any):
    durable = opened(redis_server.url, limit=1000)
    redis_server.stop()
    taken: list[str] = []

    def fill() -> None:
        for number in range(100):
            durable.append([event(f"{number}", at=number)])
            taken.append(f"{number}")

    with pytest.raises(UnavailableError, match="expected room for another record"):
        fill()
    assert taken
    with pytest.raises(UnavailableError, match="expected room"):
        durable.erase("u" * 200)
    redis_server.start()
    wait_until(lambda: durable.waiting == 0)
    assert ids(durable.history("u", 100).events) == taken
    assert durable.append([event("more", at=100)]) == Receipt(1)


class TestListsOfAnOutage:
    """What was served while the store was down is logged once it is back, events first."""

    def served(self, number: int, user: str = "u", at: float | None = None) -> ServedList:
        items = (ServedItem(item="i", position=1, score=1, propensity=0.5, predictions={"like": 0.25}),)
        return ServedList(request=f"{number}", time=time.time() if at is None else at, user=user, model="m", items=items)

    def test_they_wait_and_are_logged_once(self, opened: Opening, redis_server: Any):
        durable = opened(redis_server.url)
        lists = [self.served(number) for number in range(250)]
        durable.log_lists(lists[:1])
        redis_server.stop()
        durable.log_lists(lists[:150])
        durable.log_lists(lists[150:])
        assert durable.waiting_lists > 0 and durable.waiting == 0 and durable.dropped == 0
        assert durable.append([event("a")]) == Receipt(None)
        redis_server.start()
        wait_until(lambda: durable.waiting == 0 and durable.waiting_lists == 0)
        with open_store(redis_server.url) as store:
            assert store.lists_since(0)[0] == lists
            assert ids(store.history("u", 10)) == ["a"]
        assert durable.dropped == 0

    def test_they_outlive_the_process(self, tmp_path: Path, redis_server: Any):
        redis_server.stop()
        for number in range(2):
            durable = Durable(partial(open_store, redis_server.url), Journal(tmp_path / "journal"), pause=0.02)
            durable.log_lists([self.served(number)])
            durable.close()
        redis_server.start()
        durable = Durable(partial(open_store, redis_server.url), Journal(tmp_path / "journal"), pause=0.02)
        wait_until(lambda: durable.waiting_lists == 0)
        durable.close()
        with open_store(redis_server.url) as store:
            assert [one.request for one in store.lists_since(0)[0]] == ["0", "1"]

    def test_one_who_was_erased_since_is_not_named(self, opened: Opening, redis_server: Any):
        durable = opened(redis_server.url)
        redis_server.stop()
        durable.log_lists([self.served(0), self.served(1, "here"), self.served(2, "elsewhere")])
        durable.erase("here")
        durable.log_lists([self.served(3, "here", time.time() + 60)])
        redis_server.start()
        with open_store(redis_server.url) as other:
            other.erase("elsewhere")
        wait_until(lambda: durable.waiting_lists == 0)
        with open_store(redis_server.url) as store:
            assert [one.user for one in store.lists_since(0)[0]] == ["u", None, None, "here"]

    def test_those_without_room_are_counted_and_take_none_of_the_events(self, opened: Opening, redis_server: Any):
        durable = opened(redis_server.url, limit=8000)
        redis_server.stop()
        durable.log_lists([self.served(number) for number in range(40)])
        lost = durable.dropped
        assert 0 < lost < 40 and durable.waiting_lists <= 2000
        taken: list[Receipt] = []

        def fill() -> None:
            taken.extend(durable.append([event(f"{number}", at=number)]) for number in range(1000))

        with pytest.raises(UnavailableError, match=r"found \d+ bytes waiting for the store, of 8000"):
            fill()
        assert durable.waiting > 7800 and durable.dropped == lost
        redis_server.start()
        wait_until(lambda: durable.waiting == 0 and durable.waiting_lists == 0)
        with open_store(redis_server.url) as store:
            assert store.counters()["events"] == len(taken)
            assert store.counters()["lists"] == 40 - lost

    def test_a_full_disk_costs_them_before_an_event(self, opened: Opening, redis_server: Any):
        durable = opened(redis_server.url)
        redis_server.stop()
        durable.log_lists([self.served(number) for number in range(5)])
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (60, hard))
        try:
            with pytest.raises(UnavailableError, match="found File too large"):
                durable.append([event("a")])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert durable.waiting_lists == 0 and durable.dropped == 5


def test_a_record_that_the_store_refuses_is_set_aside(opened: Opening, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    journal = Journal(tmp_path / "journal")
    bad = Event.model_construct(id="bad", user="u", item=None, type="click", time=0.0)
    for one in (event("a"), bad, event("b")):
        journal.add(Appending(1.0, (one,)))
    journal.close()
    with caplog.at_level(logging.ERROR):
        durable = opened(f"sqlite:///{tmp_path}/a.sqlite")
        wait_until(lambda: durable.waiting == 0)
    assert ids(durable.history("u", 10).events) == ["a", "b"]
    assert "the store refuses a record" in caplog.text
    assert b'"bad"' in (tmp_path / "journal.damaged").read_bytes()


def test_a_store_that_cannot_be_used_is_told_at_once(tmp_path: Path):
    journal = Journal(tmp_path / "journal")
    with pytest.raises(UserError, match="expected a scheme"):
        Durable(partial(open_store, "mysql://localhost/shop"), journal)
    journal.close()


class TestRaces:
    """Another thread erases a user between what a call tells the store or the journal and what it keeps of it."""

    def test_between_the_store_and_what_is_kept(self, opened: Opening, redis_server: Any, monkeypatch: pytest.MonkeyPatch):
        durable = opened(redis_server.url)
        store = durable._store
        assert store is not None
        append = store.append

        def append_and_be_erased(events: Any, arrived: Any = None) -> int:
            new = append(events, arrived)
            durable.erase("u")
            assert durable.history("u", 10).events == []
            return new

        monkeypatch.setattr(store, "append", append_and_be_erased)
        durable.append([event("a")])
        monkeypatch.undo()
        redis_server.stop()
        assert durable.history("u", 10).events == []

    def test_between_the_journal_and_what_is_kept(self, opened: Opening, redis_server: Any, monkeypatch: pytest.MonkeyPatch):
        durable = opened(redis_server.url)
        redis_server.stop()
        add = durable._journal.add

        def add_and_be_erased(record: Any) -> None:
            add(record)
            if isinstance(record, Appending):
                durable.erase("u")

        monkeypatch.setattr(durable._journal, "add", add_and_be_erased)
        assert durable.append([event("a")]) == Receipt(None)
        monkeypatch.undo()
        assert durable.history("u", 10).events == []
        redis_server.start()
        wait_until(lambda: durable.waiting == 0)
        assert durable.history("u", 10).events == []


class TestErasures:
    """Who was erased is known while the store is down, or it is said that it is not."""

    def test_are_known_whoever_erased(self, opened: Opening, redis_server: Any):
        durable = opened(redis_server.url)
        durable.append([event("a"), event("b", "elsewhere")])
        durable.history("elsewhere", 10)
        durable.erase("here")
        with open_store(redis_server.url) as other:
            other.erase("elsewhere")
        wait_until(lambda: durable._erasures.count == 2)
        redis_server.stop()
        wait_until(lambda: not durable.is_up)
        durable.erase("meanwhile")
        known = {user: durable.is_erased(user) for user in ("u", "never met", "here", "elsewhere", "meanwhile")}
        assert known == {"u": False, "never met": False, "here": True, "elsewhere": True, "meanwhile": True}
        assert durable.history("elsewhere", 10).events == []
        redis_server.start()
        wait_until(lambda: durable.waiting == 0 and durable.is_up)
        redis_server.stop()
        wait_until(lambda: not durable.is_up)
        assert durable.is_erased("meanwhile") is True and durable.is_erased("u") is False

    def test_are_not_known_to_who_starts_while_the_store_is_down(self, redis_server: Any, tmp_path: Path):
        with open_store(redis_server.url) as store:
            store.erase("before")
        redis_server.stop()
        durable = Durable(partial(open_store, redis_server.url), Journal(tmp_path / "journal"), pause=0.02)
        durable.erase("here")
        durable.close()
        durable = Durable(partial(open_store, redis_server.url), Journal(tmp_path / "journal"), pause=0.02)
        assert [durable.is_erased(user) for user in ("here", "before", "u")] == [True, None, None]
        redis_server.start()
        wait_until(lambda: durable.is_up)
        assert [durable.is_erased(user) for user in ("here", "before", "u")] == [True, True, False]
        durable.close()

    def test_that_the_journal_refuses_leave_the_user_as_it_was(self, opened: Opening, redis_server: Any):
        durable = opened(redis_server.url, limit=30)
        redis_server.stop()
        with pytest.raises(UnavailableError):
            durable.erase("u")
        assert durable.is_erased("u") is False


class TestLeftJournals:
    """What processes that ended left is brought to the store by one that goes on."""

    def leave(self, path: Path, name: str) -> None:
        journal = Journal(path)
        journal.add(Appending(10.0, (event(name, "u"), event(f"erased {name}", f"erased {name}"))))
        journal.add(Erasing(11.0, f"erased {name}"))
        journal.close()
        lists = Journal(path.with_name(f"{path.name}.lists"))
        lists.add(Serving(ServedList(request=name, time=10.0, user=f"erased {name}", model="m", items=())))
        lists.close()

    def test_are_taken_over_at_the_start_but_for_those_that_others_have(self, tmp_path: Path):
        base, url = tmp_path / "journal", f"sqlite:///{tmp_path}/a.sqlite"
        for number in range(1, 4):
            self.leave(tmp_path / f"journal-{number}", f"{number}")
        self.leave(tmp_path / "other", "other")
        held = Journal(tmp_path / "journal-2")
        durable = Durable(partial(open_store, url), free_journal(base), pause=0.02, family=base)
        wait_until(lambda: durable.waiting == 0 and durable.waiting_lists == 0)
        with open_store(url) as store:
            assert sorted(ids(store.history("u", 10))) == ["1", "3"]
            assert store.erased("erased 1") and store.erased("erased 3") and not store.erased("erased 2")
            assert store.history("erased 1", 10) == []
            assert [(one.request, one.user) for one in store.lists_since(0)[0]] == [("1", None), ("3", None)]
        durable.close()
        assert len(list(held)) == 2
        held.close()
        for left in (tmp_path / "journal-1", tmp_path / "journal-3", tmp_path / "journal-3.lists"):
            journal = Journal(left)
            assert journal.is_empty
            journal.close()

    def test_are_known_while_the_store_is_down_and_taken_over_when_it_is_back(self, redis_server: Any, tmp_path: Path):
        redis_server.stop()
        base = tmp_path / "journal"
        self.leave(tmp_path / "journal-1", "1")
        held = Journal(tmp_path / "journal-2")
        durable = Durable(partial(open_store, redis_server.url), free_journal(base), pause=0.02, family=base)
        assert ids(durable.history("u", 10).events) == ["1"] and durable.is_erased("erased 1") is True
        held.close()
        self.leave(tmp_path / "journal-2", "2")
        redis_server.start()
        wait_until(lambda: durable.is_up)
        wait_until(lambda: durable.waiting == 0)
        wait_until(lambda: sorted(ids(durable.history("u", 10).events)) == ["1", "2"])
        durable.close()

    def test_stay_where_they_are_where_there_is_no_room(self, redis_server: Any, tmp_path: Path):
        redis_server.stop()
        self.leave(tmp_path / "journal-1", "1")
        small = Journal(tmp_path / "journal", limit=100)
        durable = Durable(partial(open_store, redis_server.url), small, pause=0.02, family=tmp_path / "journal")
        assert durable.waiting == 0
        durable.close()
        left = Journal(tmp_path / "journal-1")
        assert len(list(left)) == 2
        left.close()

    def test_what_is_no_journal_is_passed_over(self, tmp_path: Path, caplog: pytest.LogCaptureFixture):
        (tmp_path / "journal-1").write_text("a diary")
        self.leave(tmp_path / "journal-2", "2")
        url = f"sqlite:///{tmp_path}/a.sqlite"
        durable = Durable(partial(open_store, url), free_journal(tmp_path / "journal"), family=tmp_path / "journal")
        wait_until(lambda: ids(durable.history("u", 10).events) == ["2"])
        durable.close()
        assert "cannot be taken over" in caplog.text and (tmp_path / "journal-1").read_text() == "a diary"


def test_each_process_gets_the_first_journal_that_is_free(tmp_path: Path):
    first, second = free_journal(tmp_path / "journal"), free_journal(tmp_path / "journal")
    assert (first.path.name, second.path.name) == ("journal", "journal-1")
    first.close()
    again = free_journal(tmp_path / "journal")
    assert again.path == first.path
    again.close()
    second.close()
    (tmp_path / "journal").write_text("another has it open, says a diary")
    with pytest.raises(UserError, match="polyrec journal 1"):
        free_journal(tmp_path / "journal")
