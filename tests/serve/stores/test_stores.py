"""What every kind of store does, against real databases."""

import logging
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Thread
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from redis import Redis

from polyrec import UserError
from polyrec.serve.stores.opening import open_store
from polyrec.serve.stores.records import Event, ItemChange, ServedItem, ServedList
from polyrec.serve.stores.sqlite import SQLite
from polyrec.serve.stores.store import Store, UnavailableError

APPENDING = Path(__file__).with_name("appending.py")


def event(identifier: str, user: str = "u", at: float = 0, **fields: Any) -> Event:
    return Event(**{"id": identifier, "user": user, "item": "i", "type": "click", "time": at, **fields})


def served(request: str, user: str | None, at: float = 0) -> ServedList:
    item = ServedItem(item="i", position=1, score=0.1 + 0.2, propensity=0.5, predictions={"like": 1 / 3})
    return ServedList(request=request, time=at, user=user, model="m-1", items=(item,))


def ids(events: list[Event]) -> list[str]:
    return [one.id for one in events]


def all_events(store: Store, limit: int = 1000) -> list[Event]:
    events, (page, sequence) = [], store.events_since(0, limit)
    while page:
        events += page
        page, sequence = store.events_since(sequence, limit)
    return events


class Machine(RuleBasedStateMachine):
    """Appends, erasures and histories, beside lists in memory."""

    users, times = ("u", "ü-2", "{v}:*"), (-1.5, 0.0, 0.1, 0.2, 1e9 + 0.1)

    def __init__(self, store: Store):
        super().__init__()
        self.store = store
        self.prefix = f"{random.random()}-"
        self.events: list[Event] = []
        self.erasures: set[str] = set()

    @initialize()
    def start(self):
        for user in self.users:
            self.store.erase(self.prefix + user)

    @rule(batch=st.lists(st.tuples(st.integers(0, 30), st.sampled_from(users), st.sampled_from(times)), max_size=5))
    def append(self, batch: list[tuple[int, str, float]]):
        known = {one.id for one in self.events}
        given = [event(f"{self.prefix}{number}", self.prefix + user, at) for number, user, at in batch]
        new = list({one.id: one for one in reversed(given) if one.id not in known}.values())[::-1]
        assert self.store.append(given) == len(new)
        self.events += sorted(new, key=given.index)

    @rule(user=st.sampled_from(users))
    def erase(self, user: str):
        self.store.erase(self.prefix + user)
        self.events = [one for one in self.events if one.user != self.prefix + user]

    @rule(user=st.sampled_from(users), limit=st.integers(1, 8), before=st.sampled_from((None, *times)))
    def history(self, user: str, limit: int, before: float | None):
        expected = [one for one in self.events if one.user == self.prefix + user and (before is None or one.time < before)]
        assert self.store.history(self.prefix + user, limit, before) == sorted(expected, key=lambda one: one.time)[-limit:]

    @invariant()
    def nothing_else_is_there(self):
        assert [one for one in all_events(self.store, 7) if one.id.startswith(self.prefix)] == self.events


class StoreContract:
    examples = 3

    @pytest.fixture
    def url(self) -> str:
        """The address of a new store."""
        raise NotImplementedError

    def set_schema(self, url: str, schema: int) -> None:
        raise NotImplementedError

    @pytest.fixture
    def store(self, url: str) -> Iterator[Store]:
        with open_store(url, timeout=10) as store:
            yield store

    def test_histories_are_the_newest_in_order_of_time_and_arrival(self, store: Store):
        assert store.append([event("c", at=3), event("a", at=1), event("tie 1", at=2)]) == 3
        assert store.append([event("tie 2", at=2), event("other", "v", at=2)]) == 2
        assert ids(store.history("u", 10)) == ["a", "tie 1", "tie 2", "c"]
        assert ids(store.history("u", 2)) == ["tie 2", "c"]
        assert ids(store.history("u", 2, before=3)) == ["tie 1", "tie 2"]
        assert ids(store.history("u", 10, before=2)) == ["a"]
        assert store.history("nobody", 10) == []

    def test_an_id_is_stored_once_and_the_first_stays(self, store: Store):
        assert store.append([event("a", item="first"), event("a", item="second")]) == 1
        assert store.append([event("a", user="v", item="third"), event("b")]) == 1
        assert [one.item for one in store.history("u", 10)] == ["first", "i"]
        assert store.history("v", 10) == []
        assert store.append([]) == 0

    def test_what_was_acknowledged_is_there_for_others(self, store: Store, url: str):
        values = {"rating": 0.1 + 0.2, "big": 1e300, "tiny": -5e-324, "is_new": True, "text": 'ü "\n\\ 🎬 {}', "none": None}
        given = event("a'; DROP TABLE events; --", "{}:* \n", 1e9 + 0.1, type="%s ?", values=values)
        store.append([given])
        with open_store(url) as other:
            assert other.history("{}:* \n", 1) == [given]
            assert [type(value) for value in other.history("{}:* \n", 1)[0].values.values()] == [float] * 3 + [
                bool,
                str,
                type(None),
            ]

    def test_threads_that_append_the_same_events_store_each_once(self, store: Store):
        batches = [
            [event(f"{number % 40}", f"u{number % 3}", number % 40), event(f"own {number}", "v", number)]
            for number in range(80)
        ]
        for batch in batches[::2]:
            batch.reverse()
        with ThreadPoolExecutor(8) as threads:
            assert sum(threads.map(store.append, batches)) == 40 + 80
        assert len(store.history("v", 1000)) == 80
        assert sum(len(store.history(f"u{number}", 1000)) for number in range(3)) == 40

    def test_who_reads_the_log_while_others_write_passes_over_nothing(self, store: Store):
        def write(thread: int) -> None:
            for number in range(25):
                store.append([event(f"{thread}-{number}-{part}") for part in range(3)])

        threads = [Thread(target=write, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        seen, sequence, is_over = [], 0, False
        while True:
            page, sequence = store.events_since(sequence, limit=10)
            seen += ids(page)
            if is_over and not page:
                break
            is_over = not any(thread.is_alive() for thread in threads)
        assert len(seen) == len(set(seen)) == 4 * 25 * 3

    def test_processes_append_at_once(self, store: Store, url: str):
        commands = [[sys.executable, str(APPENDING), url, name, "10"] for name in ("a", "b")]
        processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for command in commands]
        acknowledged = [line for process in processes for line in process.communicate()[0].split()]
        assert [process.returncode for process in processes] == [0, 0]
        assert sorted(acknowledged) == sorted(ids(all_events(store)))
        assert len(acknowledged) == 80

    def test_who_opens_a_new_store_at_once_opens_the_same(self, url: str):
        with ThreadPoolExecutor(4) as threads:
            stores = list(threads.map(lambda _: open_store(url, timeout=10), range(4)))
        stores[0].erase("u")
        assert all(store.erased("u") for store in stores)
        for store in stores:
            store.close()

    def test_an_erased_user_is_gone_until_events_come_anew(self, store: Store):
        store.append([event("a"), event("b", "v")])
        store.log_lists([served("r", "u"), served("s", "v")])
        assert store.erased_at("u") is None
        store.erase("u")
        assert store.history("u", 10) == []
        assert [one.user for one in store.lists_since(0)[0]] == [None, "v"]
        assert ids(all_events(store)) == ["b"]
        assert store.erased("u")
        assert store.erased_at("u") == pytest.approx(time.time(), abs=60)
        assert not store.erased("v")
        assert store.append([event("c"), event("a")]) == 2
        assert ids(store.history("u", 10)) == ["c", "a"]
        assert store.counters() == {"events": 3, "lists": 2, "items": 0, "erasures": 1}

    def test_an_erasure_and_events_come_out_right_in_any_order(self, store: Store):
        now = time.time()
        store.append([event("before")], arrived=[now - 20])
        store.append([event("fresh")])
        store.erase("u", at=now - 10)
        assert ids(store.history("u", 10)) == ["fresh"]
        late = [event("waited, erased since"), event("waited, came after"), event("other", "v")]
        assert store.append(late, arrived=[now - 15, now - 5, now - 15]) == 2
        assert ids(store.history("u", 10)) == ["fresh", "waited, came after"]
        store.erase("u", at=now - 30)
        assert store.erased_at("u") == now - 10

    def test_a_list_of_one_who_was_erased_since_it_was_served_has_no_name(self, store: Store):
        now = time.time()
        store.erase("u", at=now - 10)
        lists = [served("before", "u", now - 20), served("at once", "u", now - 10), served("after", "u", now - 5)]
        assert store.log_lists([*lists, served("other", "v", now - 20), served("nobody", None, now - 20)]) == 5
        users = {one.request: one.user for one in store.lists_since(0)[0]}
        assert users == {"before": None, "at once": None, "after": "u", "other": "v", "nobody": None}
        store.erase("u", at=now - 5)
        assert {one.user for one in store.lists_since(0)[0]} == {None, "v"}

    def test_the_hashes_of_erased_users_are_told_where_they_are_more_than_known(self, store: Store):
        assert store.erased_hashes() == frozenset()
        for user in ("u", "ü", "u"):
            store.erase(user)
        assert store.erased_hashes() == store.erased_hashes(1) == {store.hashed("u"), store.hashed("ü")}
        assert store.erased_hashes(2) == frozenset()

    def test_items_are_told_as_they_are_last_in_order(self, store: Store):
        assert store.items_since(0) == []
        last = store.put_items(
            [ItemChange(item="a", columns={"title": "A"}), ItemChange(item="b", columns={"tags": ["x", None, 1]})]
        )
        assert [(one.item, one.columns) for one in store.items_since(0)] == [
            ("a", {"title": "A"}),
            ("b", {"tags": ["x", None, 1]}),
        ]
        assert store.items_since(0)[-1].sequence == last
        assert store.items_since(last) == []
        newest = store.put_items([ItemChange(item="a", columns=None)])
        assert store.items_since(last) == [ItemChange(item="a", columns=None, sequence=newest)]
        assert [one.item for one in store.items_since(0)] == ["b", "a"]
        assert [one.item for one in store.items_since(0, limit=1)] == ["b"]

    def test_columns_that_were_told_apart_are_told_together(self, store: Store):
        store.put_items([ItemChange(item="a", columns={"title": "A", "price": 1, "big": 2**63 + 1, "tags": []})])
        store.put_items([ItemChange(item="b", columns={}), ItemChange(item="a", columns={"price": None, "stock": 3})])
        store.put_items([ItemChange(item="b", columns={"x": 1}), ItemChange(item="b", columns={"y": {"z": [0.1 + 0.2]}})])
        assert {one.item: one.columns for one in store.items_since(0)} == {
            "a": {"title": "A", "price": None, "big": 2**63 + 1, "tags": [], "stock": 3},
            "b": {"x": 1, "y": {"z": [0.1 + 0.2]}},
        }
        assert store.put_items([]) == store.items_since(0)[-1].sequence
        store.put_items([ItemChange(item="a", columns=None)])
        store.put_items([ItemChange(item="a", columns={"stock": 4})])
        assert store.items_since(0)[-1].columns == {"stock": 4}

    def test_processes_that_change_an_item_at_once_lose_no_column(self, store: Store, url: str):
        def write(thread: int) -> None:
            with open_store(url) as other_store:
                for number in range(8):
                    other_store.put_items([ItemChange(item=item, columns={f"{thread}-{number}": number}) for item in "ab"])

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(write, range(4)))
        for change in store.items_since(0):
            assert change.columns == {f"{thread}-{number}": number for thread in range(4) for number in range(8)}

    def test_changes_of_items_become_visible_in_the_order_of_their_numbers(self, store: Store):
        def write(thread: int) -> None:
            for number in range(10):
                store.put_items([ItemChange(item=f"{thread}-{number}-{part}", columns={}) for part in range(2)])

        threads = [Thread(target=write, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        seen, sequence, is_over = [], 0, False
        while True:
            page = store.items_since(sequence)
            seen += [change.item for change in page]
            sequence = page[-1].sequence if page else sequence
            if is_over and not page:
                break
            is_over = not any(thread.is_alive() for thread in threads)
        assert len(seen) == len(set(seen)) == 4 * 10 * 2

    def test_lists_come_back_as_they_were_served(self, store: Store):
        given = [served(f"r{number}", "u" if number % 2 else None, number) for number in range(5)]
        given[2] = given[2].replace(shown=False)
        assert store.log_lists(given) == 5
        assert store.log_lists([given[0].replace(model="other"), served("r5", "v")]) == 1
        assert store.log_lists([]) == 0
        first, sequence = store.lists_since(0, limit=3)
        second, sequence = store.lists_since(sequence, limit=3)
        assert first + second == [*given, served("r5", "v")]
        assert store.lists_since(sequence) == ([], sequence)

    def test_a_newer_schema_is_refused(self, store: Store, url: str):
        self.set_schema(url, 2)
        with pytest.raises(UserError, match=r"expected schema 1, found schema 2\. Use the version of polyrec that wrote it"):
            open_store(url)

    def test_it_does_what_lists_in_memory_do(self, store: Store):
        run_state_machine_as_test(
            lambda: Machine(store),
            settings=settings(
                max_examples=self.examples,
                stateful_step_count=15,
                database=None,
                suppress_health_check=list(HealthCheck),
            ),
        )


class TestSQLite(StoreContract):
    examples = 10

    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path}/folder/events.sqlite"

    def set_schema(self, url: str, schema: int) -> None:
        database = sqlite3.connect(url.removeprefix("sqlite:///"))
        database.execute(f"PRAGMA user_version = {schema}")
        database.close()

    def test_a_batch_with_an_event_that_cannot_be_stored_is_not_stored(self, store: Store):
        bad = Event.model_construct(id="b", user="u", item=None, type="click", time=0.0)
        with pytest.raises(sqlite3.IntegrityError):
            store.append([event("a"), bad])
        assert store.history("u", 10) == []
        assert store.append([event("a")]) == 1

    def test_a_file_of_something_else_is_refused_and_left_as_it_is(self, tmp_path: Path):
        path = tmp_path / "other.sqlite"
        database = sqlite3.connect(path)
        database.execute("CREATE TABLE events (a)")
        database.close()
        with pytest.raises(UserError, match="expected a store or no file, found a database of something else"):
            open_store(f"sqlite:///{path}")
        path.write_text("no database at all, but a text that is long enough to look at")
        with pytest.raises(UnavailableError, match="not a database"):
            open_store(f"sqlite:///{path}")

    def test_an_erased_user_stands_nowhere_in_the_file(self, url: str):
        with open_store(url, timeout=10) as store:
            store.append([event("a", "someone"), event("b", "other")])
            store.log_lists([served("r", "someone")])
            store.erase("someone")
        content = Path(url.removeprefix("sqlite:///")).read_bytes()
        assert b"other" in content
        assert b"someone" not in content

    def test_a_lock_that_is_held_too_long_is_told(self, url: str):
        with open_store(url, timeout=0.1) as store:
            store.append([event("a")])
            other = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(UnavailableError, match="expected an answer, found database is locked"):
                store.append([event("b")])
            assert ids(store.history("u", 10)) == ["a"]
            other.close()
            assert store.append([event("b")]) == 1

    def test_threads_do_not_wait_for_a_lock_one_after_another(self, url: str):
        with open_store(url, timeout=0.3) as store:
            assert isinstance(store, SQLite)
            tries, commit = [], store._commit
            store._write._commit = lambda wishes: (tries.append(len(wishes)), commit(wishes))[1]
            other = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            with ThreadPoolExecutor(8) as threads:
                futures = [threads.submit(store.append, [event(f"{number}")]) for number in range(8)]
                for future in futures:
                    with pytest.raises(UnavailableError, match="database is locked"):
                        future.result()
            other.close()
            assert len(tries) <= 8
            assert store.append([event("0")]) == 1

    @pytest.mark.slow
    def test_kill_9_costs_nothing_that_was_acknowledged(self, url: str):
        open_store(url).close()
        for number in range(5):
            acknowledged = kill_while_appending(url, f"round {number}")
            with open_store(url, timeout=10) as store:
                assert acknowledged
                assert set(acknowledged) <= set(ids(all_events(store)))


class TestRedis(StoreContract):
    @pytest.fixture
    def url(self, redis: str) -> str:
        with Redis.from_url(redis) as client:
            client.flushall()
        return redis

    def set_schema(self, url: str, schema: int) -> None:
        with Redis.from_url(url) as client:
            client.hset("{polyrec}:facts", "schema", schema)

    def test_an_erased_user_stands_in_no_key_or_value(self, store: Store, url: str):
        store.append([event("a", "someone"), event("b", "other")])
        store.log_lists([served("r", "someone")])
        store.erase("someone")
        with Redis.from_url(url, decode_responses=True) as client:
            keys = [key.rpartition(":")[2] for key in client.scan_iter()]
            content = [
                client.hgetall("{polyrec}:" + key) for key in ("facts", "ids", "events", "lists", "users of lists", "erasures")
            ]
        assert "someone" not in keys
        assert "other" in str(content)
        assert "someone" not in str(content)

    def test_the_end_of_the_server_costs_nothing_that_was_acknowledged(self, redis_server: Any):
        end_while_appending(redis_server)

    def test_a_server_that_hangs_is_given_up(self, redis_server: Any):
        hang(redis_server.url, lambda: [redis_server.process.pid])

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (["--appendonly", "no"], r"expected an append-only file, found `appendonly no`\. Set `appendonly yes`"),
            (
                ["--appendonly", "yes", "--maxmemory", "99mb", "--maxmemory-policy", "allkeys-lru"],
                "Set `maxmemory-policy noeviction`",
            ),
        ],
    )
    def test_a_server_that_forgets_is_refused(self, redis_server: Any, options: list[str], message: str):
        server = type(redis_server)(*options)
        try:
            with pytest.raises(UserError, match=message):
                open_store(server.url)
        finally:
            server.stop()
            server.remove()

    def test_a_server_that_may_lose_seconds_is_warned_of(self, redis_server: Any, caplog: pytest.LogCaptureFixture):
        with open_store(redis_server.url):
            assert not caplog.records
        with Redis.from_url(redis_server.url) as client:
            client.config_set("appendfsync", "everysec")
        with caplog.at_level(logging.WARNING), open_store(redis_server.url) as store:
            assert "`appendfsync everysec`: a loss of power may lose" in caplog.text
            assert "s3cret" not in caplog.text
            with Redis.from_url(redis_server.url) as client:
                client.config_set("appendonly", "no")
            with pytest.raises(UserError, match="expected an append-only file"):
                store.ping()


class TestPostgreSQL(StoreContract):
    @pytest.fixture
    def url(self, postgresql: str) -> str:
        with psycopg.connect(postgresql) as connection:
            connection.execute("DROP SCHEMA IF EXISTS polyrec CASCADE")
        return postgresql

    def set_schema(self, url: str, schema: int) -> None:
        with psycopg.connect(url) as connection:
            connection.execute("UPDATE polyrec.facts SET schema = %s", (schema,))

    def test_a_batch_with_an_event_that_cannot_be_stored_is_not_stored(self, store: Store):
        bad = Event.model_construct(id="b", user="u", item=None, type="click", time=0.0)
        with pytest.raises(psycopg.IntegrityError):
            store.append([event("a"), bad])
        assert store.history("u", 10) == []

    def test_the_end_of_the_server_costs_nothing_that_was_acknowledged(self, postgresql_server: Any):
        end_while_appending(postgresql_server)

    def test_a_server_that_hangs_is_given_up(self, url: str):
        hang(url, lambda: processes_of(url))

    def test_a_database_in_another_encoding_is_refused(self, postgresql: str):
        with psycopg.connect(postgresql, autocommit=True) as connection:
            connection.execute("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
        with pytest.raises(UserError, match="expected a database in UTF8, found LATIN1"):
            open_store(postgresql.replace("/postgres", "/latin"))

    def test_commits_are_flushed_even_where_the_server_would_not(self, postgresql: str, url: str):
        with open_store(f"{url}?options=-csynchronous_commit%3Doff") as store:
            assert store._read("SHOW synchronous_commit") == [("on",)]


def processes_of(url: str) -> list[int]:
    with psycopg.connect(url) as connection:
        query = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        return [row[0] for row in connection.execute(query)]


def kill_while_appending(target: str, name: str) -> list[str]:
    """Return what was acknowledged until the process was killed, somewhere within half a second."""
    process = subprocess.Popen([sys.executable, str(APPENDING), target, name], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines = [process.stdout.readline()]
    time.sleep(random.uniform(0.01, 0.5))
    process.kill()
    lines += process.stdout.read().splitlines(keepends=True)
    process.wait()
    process.stdout.close()
    return [line.strip() for line in lines if line.endswith("\n")]


def end_while_appending(server: Any) -> None:
    """Kill a server while four threads append, start it, and look for all that was acknowledged."""
    acknowledged: list[str] = []
    failed: list[UnavailableError] = []
    with open_store(server.url, timeout=5) as store:

        def append(thread: int) -> None:
            for number in range(10_000):
                try:
                    store.append([event(f"{thread}-{number}")])
                except UnavailableError as error:
                    failed.append(error)
                    return
                acknowledged.append(f"{thread}-{number}")

        threads = [Thread(target=append, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        while len(acknowledged) < 20:
            time.sleep(0.01)
        server.kill()
        for thread in threads:
            thread.join()
        assert len(failed) == 4
        assert all("s3cret" not in str(error) for error in failed)
        server.start()
        wait_for(store.ping)
        assert set(acknowledged) <= set(ids(all_events(store)))
        assert store.append([event("after")]) == 1
        server.stop()
        server.start()
        wait_for(store.ping)
        assert store.append([event("after"), event("again")]) == 1


def hang(url: str, processes: Callable[[], list[int]]) -> None:
    """Stop a server's processes without ending them, and see that a call gives up in time."""
    with open_store(url, timeout=0.5) as store:
        store.append([event("a")])
        stopped = processes()
        for process in stopped:
            os.kill(process, signal.SIGSTOP)
        try:
            start = time.monotonic()
            with pytest.raises(UnavailableError):
                store.append([event("b")])
            assert time.monotonic() - start < 2
        finally:
            for process in stopped:
                os.kill(process, signal.SIGCONT)
        wait_for(store.ping)
        assert store.append([event("b"), event("c")]) >= 1


def wait_for(works: Callable[[], object], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            works()
            return
        except UnavailableError:
            assert time.monotonic() < end
            time.sleep(0.02)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (
            "mysql://reader:s3cret@localhost/shop",
            r"store, 'mysql://reader:\*\*\*@localhost/shop': expected a scheme, found the scheme 'mysql'",
        ),
        ("redi://:s3cret@localhost", "Did you mean 'redis://'?"),
        ("reader:s3cret@localhost/shop", "expected a scheme, found none"),
        ("sqlite://events.sqlite", "three slashes"),
        ("redis://:s3cret@127.0.0.1:1/0", r"store 'redis://:\*\*\*@127.0.0.1:1/0': expected an answer, found .*refused"),
        ("redis://:s3cret@127.0.0.1:port/0", "expected an address, found one that cannot be read"),
        ("redis://:1/s3cret@127.0.0.1:1/0", "expected a password in percent-encoding"),
        ("rediss://127.0.0.1:1/0?password=s3cret", "expected an answer"),
        (
            "postgresql://reader:s3cret@127.0.0.1:1/shop",
            r"store 'postgresql://reader:\*\*\*@127.0.0.1:1/shop': expected an answer",
        ),
        ("postgresql://reader:s3cret%zz@127.0.0.1:1/shop", "expected an address, found one that cannot be read"),
        ("postgresql://reader:1@s3cret@127.0.0.1:1/shop", "expected a password in percent-encoding"),
    ],
)
def test_addresses_that_lead_nowhere_are_told_without_their_secrets(url: str, message: str):
    with pytest.raises(UserError, match=message) as caught:
        open_store(url)
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))


def test_a_wrong_password_is_not_shown(redis: str, postgresql: str):
    for url in (redis, postgresql):
        with pytest.raises(UnavailableError, match="(?i)password") as caught:
            open_store(url.replace("s3cret-word", "wr0ng-word"))
        assert "wr0ng" not in str(caught.value)
    with open_store(redis) as store:
        assert repr(store).startswith("Redis('redis://:***@127.0.0.1")
