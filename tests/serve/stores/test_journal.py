"""The journal: nothing that was acknowledged is lost, and nothing else comes back as if it had been."""

import logging
import random
import resource
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from polyrec import UserError
from polyrec.serve.stores.journal import Appending, Erasing, Journal, Record, Serving
from polyrec.serve.stores.records import Event, ServedItem, ServedList
from polyrec.serve.stores.store import UnavailableError


def record(identifier: str) -> Appending:
    values = {"rating": 0.1 + 0.2, "text": "ü\n 🎬", "is_new": True, "none": None}
    return Appending(1.25, (Event(id=identifier, user="u", item="i", type="rate", time=0.1, values=values),))


ITEMS = tuple(ServedItem(item=f"ü{place}", position=place, score=0.1 * place, predictions={"like": 0.3}) for place in (1, 2))
LIST = Serving(ServedList(request="r", time=0.1, user=None, model="m", items=ITEMS))
RECORDS: list[Record] = [record("a"), Erasing(0.1 + 0.2, "ü"), record("b"), LIST, record("c")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    journal = Journal(tmp_path / "folder" / "journal")
    assert journal.is_empty
    for one in RECORDS:
        journal.add(one)
    assert not journal.is_empty
    journal.close()
    return tmp_path / "folder" / "journal"


def read(path: Path) -> list[Record]:
    journal = Journal(path)
    try:
        return list(journal)
    finally:
        journal.close()


def test_records_come_back_in_order(path: Path):
    assert read(path) == RECORDS


def test_the_head_is_dropped_bit_by_bit_and_an_emptied_journal_is_small(path: Path):
    journal = Journal(path)
    first, position = journal.head(4)
    assert first == RECORDS[:4]
    journal.drop(position)
    journal.add(record("d"))
    rest, position = journal.head(10)
    assert rest == [RECORDS[4], record("d")]
    journal.drop(position)
    assert journal.is_empty and journal.size == 0 and journal.head(10)[0] == []
    journal.add(record("e"))
    journal.close()
    assert read(path) == [record("e")]
    assert len(path.read_bytes().splitlines()) == 2


def test_a_journal_that_is_cleared_in_between_keeps_what_came_after(path: Path):
    journal = Journal(path)
    _, position = journal.head(2)
    assert journal.clear() == len(RECORDS) and journal.is_empty
    journal.add(record("d"), record("e"))
    journal.drop(position)
    first, position = journal.head(1)
    assert first == [record("d")]
    journal.drop(position)
    journal.close()
    assert read(path) == [record("d"), record("e")]


@pytest.mark.parametrize("cut", [1, 5, 100])
def test_a_record_that_was_cut_off_is_removed(path: Path, cut: int):
    path.write_bytes(path.read_bytes()[:-cut])
    assert read(path) == RECORDS[:-1]
    journal = Journal(path)
    journal.add(record("d"))
    journal.close()
    assert read(path) == [*RECORDS[:-1], record("d")]
    assert not path.with_name("journal.damaged").exists()


def test_a_record_that_was_altered_is_set_aside_and_told(path: Path, caplog: pytest.LogCaptureFixture):
    lines = path.read_bytes().splitlines(keepends=True)
    damaged = lines[2].replace(b"0.3", b"0.4")
    path.write_bytes(b"".join([*lines[:2], damaged, *lines[3:]]))
    with caplog.at_level(logging.ERROR):
        assert read(path) == [RECORDS[0], *RECORDS[2:]]
    assert "1 of 5 records are damaged" in caplog.text
    assert path.with_name("journal.damaged").read_bytes() == damaged
    caplog.clear()
    assert read(path) == [RECORDS[0], *RECORDS[2:]]
    assert not caplog.records


def test_any_flipped_bit_costs_the_records_that_it_touches_at_most(path: Path):
    content = path.read_bytes()
    start = content.index(b"\n") + 1
    for bit in random.Random(0).sample(range(8 * start, 8 * len(content)), 40):
        altered = bytearray(content)
        altered[bit // 8] ^= 1 << bit % 8
        path.write_bytes(altered)
        records = read(path)
        assert len(records) >= len(RECORDS) - 2
        assert [one for one in RECORDS if one in records] == records


def test_another_process_and_another_file_are_refused(path: Path):
    journal = Journal(path)
    with pytest.raises(
        UserError, match=r"expected one process, found another has it open\. Give each process a separate journal"
    ):
        Journal(path)
    journal.close()
    path.write_text("a text\n")
    with pytest.raises(UserError, match="found b'a text"):
        Journal(path)
    assert path.read_text() == "a text\n"


def test_a_full_journal_refuses_and_keeps_what_it_has(tmp_path: Path):
    journal = Journal(tmp_path / "journal", limit=1000)
    taken: list[str] = []

    def fill() -> None:
        for number in range(100):
            journal.add(record(f"{number}"))
            taken.append(f"{number}")

    with pytest.raises(UnavailableError, match=r"expected room for another record, found \d+ bytes waiting .*, of 1000"):
        fill()
    assert 2 <= len(taken) < 10
    journal.drop(journal.head(1)[1])
    assert [one.events[0].id for one in journal] == taken[1:]
    journal.drop(journal.head(100)[1])
    journal.add(record("again"))
    journal.close()
    assert read(tmp_path / "journal") == [record("again")]


def test_a_full_disk_refuses_and_spoils_nothing(tmp_path: Path):
    journal = Journal(tmp_path / "journal")
    journal.add(record("a"))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (journal.size + 60, hard))
    try:
        with pytest.raises(UnavailableError, match="found File too large"):
            journal.add(record("b"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    journal.add(record("c"))
    journal.close()
    assert read(tmp_path / "journal") == [record("a"), record("c")]


def test_threads_share_flushes_and_lose_nothing(tmp_path: Path):
    journal = Journal(tmp_path / "journal")
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: journal.add(record(f"{number}")), range(200)))
    assert sorted(int(one.events[0].id) for one in journal) == list(range(200))
    journal.close()


@pytest.mark.slow
def test_kill_9_costs_nothing_that_was_acknowledged(tmp_path: Path):
    path, acknowledged = tmp_path / "journal", []
    for number in range(3):
        command = [sys.executable, str(Path(__file__).with_name("appending.py")), f"journal:{path}", f"round {number}"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        acknowledged.append(process.stdout.readline().strip())
        time.sleep(random.uniform(0.01, 0.3))
        process.kill()
        acknowledged += [line.strip() for line in process.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
        process.wait()
        process.stdout.close()
        assert set(acknowledged) <= {one.events[0].id for one in read(path)}
    assert len(acknowledged) > 3
