"""Speed of encoding texts compared with sentence-transformers, on one thread: `python benchmarks/encoding.py --help`.

Both encode the same distinct texts with the same model, in alternating rounds. A figure is the median over rounds, in texts
per second of CPU time. `titles` are the first titles of a table; `reviews` concatenate two to ten of them, so their lengths
vary like those of reviews. Vectors are compared first: speeds are comparable only for equal vectors.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import torch
from rich.console import Console
from rich.table import Table

from polyrec import Package
from polyrec.language.cache.cache import encode_cached


def texts(titles: list[str], kind: str, count: int) -> list[str]:
    """Return distinct texts of a kind."""
    if kind == "titles":
        return titles[:count]
    starts = range(0, 10 * count, 10)
    made = [". ".join(titles[(start + step) % len(titles)] for step in range(2 + start // 10 % 9)) for start in starts]
    return list(dict.fromkeys(made))


def read_titles(path: Path | None, column: str) -> list[str]:
    """Return the distinct texts of a column or, without a table, sentences of random words."""
    if path is not None:
        found = pl.read_parquet(path)[column].drop_nulls().unique(maintain_order=True).to_list()
        return [text for text in found if text.strip()]
    generator = np.random.default_rng(0)
    words = [chr(97 + number % 26) + "aeiou"[number % 5] + chr(98 + number % 23) for number in range(400)]
    return list(dict.fromkeys(" ".join(generator.choice(words, generator.integers(3, 20))) for _ in range(5000)))


def measure(arms: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Return the CPU seconds of each arm in each round; arms alternate, and so does their order."""
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    for number in range(rounds):
        for name in list(arms) if number % 2 == 0 else list(reversed(arms)):
            start = time.process_time()
            arms[name]()
            seconds[name].append(time.process_time() - start)
    return seconds


def compare(some: list[str], rounds: int) -> dict[str, dict[str, float]]:
    """Return the texts per CPU-second of each arm and its speed relative to sentence-transformers."""
    from sentence_transformers import SentenceTransformer

    ours, theirs = Package(), SentenceTransformer(str(Package().folder()), device="cpu")
    head = some[:64]
    np.testing.assert_allclose(ours.encode(head), theirs.encode(head, show_progress_bar=False), atol=1e-5)

    def through_a_new_cache() -> None:
        with tempfile.TemporaryDirectory() as folder:
            os.environ["POLYREC_CACHE"] = folder
            encode_cached(ours, some)

    seconds = measure(
        {
            "sentence-transformers": lambda: theirs.encode(some, show_progress_bar=False),
            "polyrec": lambda: ours.encode(some),
            "polyrec, through a new cache": through_a_new_cache,
        },
        rounds,
    )
    ratio = {
        name: statistics.median(a / b for a, b in zip(seconds["sentence-transformers"], own, strict=True))
        for name, own in seconds.items()
    }
    return {
        name: {"texts per CPU-second": len(some) / statistics.median(own), "ratio": ratio[name]}
        for name, own in seconds.items()
    }


def main(arguments: list[str] | None = None) -> None:
    """Run the requested measurements and print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--titles", type=Path, help="Parquet file with texts; default: random words")
    parser.add_argument("--column", default="title", help="column of the texts")
    parser.add_argument("--kinds", nargs="+", default=["titles", "reviews"], choices=["titles", "reviews"])
    parser.add_argument("--count", type=int, default=2000, help="number of titles; a fifth as many reviews")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print JSON for programs")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)
    titles = read_titles(chosen.titles, chosen.column)
    found = {}
    for kind in chosen.kinds:
        some = texts(titles, kind, chosen.count if kind == "titles" else max(chosen.count // 5, 8))
        found[kind] = compare(some, chosen.rounds)
    if chosen.json:
        json.dump(found, sys.stdout, indent=1)
        return
    table = Table(title="Encoding, one thread, all-MiniLM-L6-v2", title_justify="left")
    for column in ("texts", "arm", "texts per CPU-second", "times as fast"):
        table.add_column(column)
    for kind, arms in found.items():
        for name, own in arms.items():
            table.add_row(kind, name, f"{own['texts per CPU-second']:.0f}", f"{own['ratio']:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
