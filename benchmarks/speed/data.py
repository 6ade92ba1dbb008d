"""The data: drawn from a planted model in chunks, so any number of rows needs little memory.

Ids follow Zipf's law. Each value has a latent vector (a hash of column and value, so no table of them is stored). The logit
of a task is the sum of the vectors' components in the task's direction over columns, products of the vectors of some pairs of
columns, numbers, and a product of two of them. Labels are drawn from the logit's sigmoid, and the AUC of the sigmoid itself is
reported as Bayes AUC, the best that a model can reach. Chunk n of a seed does not depend on the number of rows.

Shape letters: N rows, K latent factors, T tasks.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from speed.auc import mean_auc
from speed.environments import CACHE
from speed.numbering import number
from speed.workloads import LONGEST, Shape, ids, labels, numbers, plain

PIECE = 250_000
"""Rows drawn at a time."""
FACTORS = 4
ZIPF = 1.05
PAIRS = ((0, 1), (2, 3), (0, 6), (1, 7), (8, 9))
"""Pairs of columns whose latent vectors interact, if the columns exist."""
LOGIT, PAIR_SHARE, NUMBER_SHARE = 1.9, 0.66, 0.06
"""Standard deviation of the logit, and the shares of its variance that come from pairs and from numbers."""
VALIDATION = 2_000
"""Rows of the small validation file for trainers that need one."""
VERSION = 2


@dataclass(frozen=True)
class Piece:
    """Some rows. `bag` contains the concatenated lists of all rows, `lengths_N` their lengths."""

    ids: list[np.ndarray]
    numbers_NX: np.ndarray
    labels_NT: np.ndarray
    chances_NT: np.ndarray
    bag: np.ndarray
    lengths_N: np.ndarray


def _normals(values: np.ndarray, salt: int) -> np.ndarray:
    """Return K standard normals per value, a function of value and salt only: a hash (SplitMix64) through Box and Muller."""
    factors = np.arange(FACTORS // 2, dtype=np.uint64)
    with np.errstate(over="ignore"):
        z = (values.astype(np.uint64)[:, None] * np.uint64(FACTORS) + factors) * np.uint64(0x9E3779B97F4A7C15)
        z += np.uint64((salt + 1) * 0xD1B54A32D192ED03 % 2**64)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    low = ((z & np.uint64(0xFFFFFFFF)).astype(np.float32) + 0.5) / np.float32(2**32)
    high = (z >> np.uint64(32)).astype(np.float32) / np.float32(2**32) * np.float32(2 * np.pi)
    radius = np.sqrt(-2 * np.log(low))
    return np.concatenate([radius * np.cos(high), radius * np.sin(high)], 1)


def _zipf(generator: np.random.Generator, size: int, rows: int) -> np.ndarray:
    """Draw values 0 to size - 1 by Zipf's law; a stride makes rank and value differ."""
    ranks = ((size ** (1 - ZIPF) - 1) * generator.random(rows) + 1) ** (1 / (1 - ZIPF))
    return np.minimum(ranks.astype(np.int64) - 1, size - 1) * 7_654_321 % size


def draw(shape: Shape, place: int, rows: int) -> Piece:
    """Draw piece `place` of a data set; only its first `rows` rows if it is the last."""
    generator = np.random.default_rng((shape.seed, place))
    planted = np.random.default_rng((shape.seed, 2**32))
    columns = [_zipf(generator, size, rows) for size in shape.vocabularies]
    numbers_NX = generator.standard_normal((rows, shape.numbers), np.float32)
    logit_NT = np.zeros((rows, shape.tasks), np.float32)
    latent = [_normals(column, at) for at, column in enumerate(columns)]
    pairs = [pair for pair in PAIRS if max(pair) < len(columns)]
    id_share = 1 - PAIR_SHARE - (NUMBER_SHARE if shape.numbers else 0)
    for latent_NK in latent:
        direction_KT = planted.standard_normal((FACTORS, shape.tasks))
        logit_NT += latent_NK @ (direction_KT / np.linalg.norm(direction_KT, axis=0) * (id_share / len(latent)) ** 0.5)
    for one, other in pairs:
        mix_KT = planted.choice([-1.0, 1.0], (FACTORS, shape.tasks)) * (PAIR_SHARE / len(pairs) / FACTORS) ** 0.5
        logit_NT += (latent[one] * latent[other]) @ mix_KT
    if shape.numbers:
        slope_XT = planted.standard_normal((shape.numbers, shape.tasks))
        logit_NT += numbers_NX @ (slope_XT / np.linalg.norm(slope_XT, axis=0) * (0.8 * NUMBER_SHARE) ** 0.5)
        logit_NT += (0.2 * NUMBER_SHARE) ** 0.5 * numbers_NX[:, :1] * numbers_NX[:, 1:2]
    lengths_N = generator.integers(1, LONGEST + 1, rows) if shape.bag else np.zeros(rows, np.int64)
    bag = _zipf(generator, shape.bag, int(lengths_N.sum())) if shape.bag else np.zeros(0, np.int64)
    if shape.bag:
        means_NK = np.add.reduceat(_normals(bag, 1_000), np.cumsum(lengths_N) - lengths_N) / lengths_N[:, None] ** 0.5
        logit_NT += 0.3 * means_NK[:, : shape.tasks] if shape.tasks <= FACTORS else 0
    chances_NT = 1 / (1 + np.exp(1.0 - LOGIT * logit_NT))
    labels_NT = (generator.random(chances_NT.shape, np.float32) < chances_NT).astype(np.int8)
    return Piece(columns, numbers_NX, labels_NT, chances_NT, bag, lengths_N)


def pieces(shape: Shape, rows: int, first: int = 0) -> Iterator[Piece]:
    """Draw `rows` rows, chunk by chunk."""
    return (draw(shape, first + at // PIECE, min(PIECE, rows - at)) for at in range(0, rows, PIECE))


def _table(piece: Piece, shape: Shape) -> pa.Table:
    columns: dict[str, Any] = dict(zip(ids(shape), (pa.array(column.astype(np.int32)) for column in piece.ids), strict=True))
    columns |= {name: pa.array(piece.numbers_NX[:, at]) for at, name in enumerate(numbers(shape))}
    if shape.bag:
        offsets = np.concatenate([[0], np.cumsum(piece.lengths_N)]).astype(np.int32)
        columns["bag"] = pa.ListArray.from_arrays(pa.array(offsets), pa.array(piece.bag.astype(np.int32)))
    columns |= {name: pa.array(piece.labels_NT[:, at]) for at, name in enumerate(labels(shape))}
    return pa.table(columns)


def _write(folder: Path, part: str, shape: Shape, rows: int, first: int, arrays: bool) -> list[Piece]:
    """Write a part as Parquet and, if requested, as arrays, with lists padded with 0 and their values counted from 1."""
    sizes = {
        "ids": (len(shape.vocabularies), np.int32),
        "numbers": (shape.numbers, np.float32),
        "labels": (shape.tasks, np.float32),
    }
    sizes |= {"bags": (LONGEST, np.int32)} if shape.bag else {}
    opened = {
        name: np.lib.format.open_memmap(folder / f"{part}.{name}.npy", "w+", kind, (rows, width))
        for name, (width, kind) in sizes.items()
        if arrays
    }
    at, last = 0, []
    with pq.ParquetWriter(folder / f"{part}.parquet", _table(draw(shape, 0, 1), shape).schema) as writer:
        for piece in pieces(shape, rows, first):
            writer.write_table(_table(piece, shape))
            here, last = slice(at, at + len(piece.labels_NT)), [piece]
            if arrays:
                opened["ids"][here] = np.stack(piece.ids, 1)
                opened["numbers"][here], opened["labels"][here] = piece.numbers_NX, piece.labels_NT
            if arrays and shape.bag:
                opened["bags"][here][np.arange(LONGEST) < piece.lengths_N[:, None]] = piece.bag + 1
            at = here.stop
    return last


def make(shape: Shape, arrays: bool = True) -> Path:
    """Return the folder of a data set: `train`, `validation`, `test`, as Parquet and as arrays; drawn if missing."""
    key = hashlib.sha256(json.dumps([VERSION, PIECE, LOGIT, PAIR_SHARE, NUMBER_SHARE, ZIPF, plain(shape)]).encode()).hexdigest()
    folder = CACHE / "data" / f"{key[:12]}{'' if arrays else '-parquet'}"
    if (folder / "facts.json").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder, "train", shape, shape.rows, 0, arrays)
    _write(folder, "validation", shape, VALIDATION, 2**20, arrays)
    last = _write(folder, "test", replace(shape, rows=0), shape.test_rows, 2**20 + 1, arrays)
    bayes = mean_auc(last[0].labels_NT, last[0].chances_NT)
    facts: dict[str, Any] = {"shape": plain(shape), "bayes_auc": bayes, "positive": last[0].labels_NT.mean(0).tolist()}
    if arrays:
        facts["known"] = number(folder, "ids", ("train", "validation", "test"))
    if arrays and shape.bag:
        facts["known_in_lists"] = number(folder, "bags", ("train", "validation", "test"))[0]
    (folder / "facts.json").write_text(json.dumps(facts, indent=1) + "\n")
    return folder


def tables(shape: Shape, folder: Path, whole: bool) -> Shape:
    """Return the shape with the rows of each table instead of its vocabulary; row 0 stands for all unknown ids.

    Tables have a row for each id of the training rows or, with `whole`, for each existing id.
    """
    if whole:
        return replace(shape, vocabularies=tuple(count + 1 for count in shape.vocabularies))
    known = facts(folder)
    return replace(shape, vocabularies=tuple(count + 1 for count in known["known"]), bag=known.get("known_in_lists", 0))


def facts(folder: Path) -> dict[str, Any]:
    """Return the facts of a data set: its shape, the Bayes AUC, the share of ones."""
    return json.loads((folder / "facts.json").read_text())
