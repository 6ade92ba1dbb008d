"""Speed and durability of the stores of events: `python benchmarks/stores.py --help`.

Kinds: SQLite in a file, Redis with `appendfsync always` and `everysec`, PostgreSQL, and the journal. The script starts the
servers on the same machine and disk. One event per append, flushed before it returns (except with `everysec`); histories of
50 events. The time of a flush alone shows the share of the disk in an append. `--kill` repeatedly ends a process that appends
to SQLite with kill -9, and looks for every acknowledged event.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from polyrec.serve.stores.journal import Appending, Journal
from polyrec.serve.stores.opening import open_store
from polyrec.serve.stores.records import Event

TESTS = Path(__file__).parents[1] / "tests"


def event(name: str, number: int) -> Event:
    """Return an event like those of a shop."""
    return Event(
        id=f"{name}-{number}",
        user=name,
        item=f"item-{number % 1000}",
        type="click",
        time=float(number),
        values={"page": "home"},
    )


def seconds_of(work: Callable[[int], object], times: int) -> list[float]:
    """Return the wall seconds of each call."""
    found = []
    for number in range(times):
        start = time.perf_counter()
        work(number)
        found.append(time.perf_counter() - start)
    return found


def spread(seconds: list[float]) -> dict[str, float]:
    """Return the median and the 99th percentile in microseconds."""
    return {"median_us": 1e6 * statistics.median(seconds), "p99_us": 1e6 * statistics.quantiles(seconds, n=100)[98]}


def per_second(append: Callable[[Event], object], threads: int, each: int) -> float:
    """Return the events per second of threads that each append one event after another."""

    def run(thread: int) -> None:
        for number in range(each):
            append(event(f"thread {thread}", number))

    start = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(run, range(threads)))
    return threads * each / (time.perf_counter() - start)


def measure(url: str, appends: int) -> dict[str, Any]:
    """Return the figures of a store."""
    with open_store(url, timeout=30) as store:
        store.append([event("reader", number) for number in range(1000)])
        store.history("reader", 50)
        return {
            "append": spread(seconds_of(lambda number: store.append([event("writer", number)]), appends)),
            "append_100": spread(
                seconds_of(
                    lambda batch: store.append([event("batch", 100 * batch + part) for part in range(100)]),
                    max(appends // 10, 3),
                )
            ),
            "history_50": spread(seconds_of(lambda _: store.history("reader", 50), 2 * appends)),
            "events_per_second_1_thread": per_second(lambda one: store.append([one]), 1, appends),
            "events_per_second_8_threads": per_second(lambda one: store.append([one]), 8, appends),
        }


def measure_journal(path: Path, appends: int) -> dict[str, Any]:
    """Return the figures of a journal."""
    journal = Journal(path)

    def append(one: Event) -> None:
        journal.add(Appending(time.time(), (one,)))

    found: dict[str, Any] = {
        "append": spread(seconds_of(lambda number: append(event("writer", number)), appends)),
        "events_per_second_8_threads": per_second(append, 8, appends),
    }
    journal.close()
    return found


def flush_seconds(folder: Path, times: int) -> dict[str, dict[str, float]]:
    """Return the seconds to flush 200 bytes: appended to a growing file, and over existing bytes."""
    with (folder / "flushed").open("wb", buffering=0) as file:

        def flush(_: int) -> None:
            file.write(b"x" * 200)
            os.fdatasync(file.fileno())

        growing = spread(seconds_of(flush, times))
        file.seek(0)
        return {"growing": growing, "over": spread(seconds_of(flush, times))}


def kill(folder: Path, rounds: int) -> dict[str, int]:
    """Return how many events were acknowledged before kill -9, and how many of them were lost."""
    url, told = f"sqlite:///{folder}/killed.sqlite", []
    for number in range(rounds):
        command = [sys.executable, str(TESTS / "serve" / "stores" / "appending.py"), url, f"round {number}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            told.append(process.stdout.readline().strip())
            time.sleep(random.uniform(0.01, 0.5))
            process.kill()
            told += [line.strip() for line in process.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
    with open_store(url, timeout=30) as store:
        found, (page, sequence) = set(), store.events_since(0)
        while page:
            found |= {one.id for one in page}
            page, sequence = store.events_since(sequence)
    return {"rounds": rounds, "acknowledged": len(told), "lost": len(set(told) - found)}


@contextmanager
def running(server: Any) -> Iterator[str]:
    """Yield the address of one of the tests' servers, and stop the server afterwards."""
    try:
        yield server.url
    finally:
        server.stop()
        server.remove()


def servers() -> dict[str, Callable[[], Any]]:
    """Return a function for each kind of server that starts it, as the tests do."""
    spec = importlib.util.spec_from_file_location("servers_of_tests", TESTS / "conftest.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return {
        "Redis, always": module.RedisServer,
        "Redis, everysec": lambda: module.RedisServer("--appendonly", "yes", "--appendfsync", "everysec"),
        "PostgreSQL": module.PostgreSQLServer,
    }


def main(arguments: list[str] | None = None) -> None:
    """Measure and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--appends", type=int, default=300, help="appends per thread")
    parser.add_argument("--kill", type=int, default=20, help="rounds of kill -9; 0: none")
    parser.add_argument("--out", type=Path, help="JSON file of the figures")
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        facts: dict[str, Any] = {"appends": chosen.appends, "load": os.getloadavg()[0], "cores": os.cpu_count()}
        facts["flush"] = flush_seconds(folder, chosen.appends)
        kinds = {"SQLite": measure(f"sqlite:///{folder}/events.sqlite", chosen.appends)}
        for kind, start in servers().items():
            with running(start()) as url:
                kinds[kind] = measure(url, chosen.appends)
        kinds["journal"] = measure_journal(folder / "journal", chosen.appends)
        facts["kinds"] = kinds
        if chosen.kill:
            facts["kill"] = kill(folder, chosen.kill)
    table = Table("", "append, µs", "history of 50, µs", "events/s, 8 threads", title="Stores")
    for kind, own in kinds.items():
        history = f"{own['history_50']['median_us']:.0f}" if "history_50" in own else ""
        table.add_row(kind, f"{own['append']['median_us']:.0f}", history, f"{own['events_per_second_8_threads']:.0f}")
    Console().print(table, f"a flush alone: {facts['flush']}", facts.get("kill", ""))
    if chosen.out:
        chosen.out.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
