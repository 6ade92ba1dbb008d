"""Prepared tables equal tables prepared in memory, are found by a hash of their inputs, and are rebuilt when damaged."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from polyrec import (
    Binary,
    Categorical,
    Fitted,
    History,
    LastSplit,
    LightGCN,
    MultiCategorical,
    Multilabel,
    Numeric,
    Pairwise,
    Recommender,
    Regression,
    Retrieval,
    SharedBottom,
    Tables,
    TimeSplit,
    Training,
    UserError,
)
from polyrec.core.batch import Bag, Input, Padded
from polyrec.data import prepared, shuffle
from polyrec.data.prepared import Prepared
from polyrec.features.feature import Feature
from polyrec.prepare import stage_folder
from polyrec.prepare.stage import Stage
from polyrec.prepare.stages import Stages

SHORT = Training(epochs=2, batch_size=512)


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("POLYREC_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def spec() -> Recommender:
    """Every way that a table is read: ids, numbers, bags, two kinds of history, a graph, labels of several types."""
    return Recommender(
        user=(
            Categorical(name="user_id", width=8),
            Numeric(name="age", width=8),
            History(name="liked", of="item_id", length=5, where="rating >= 4", width=8),
            History(name="kinds", of="genres", length=3, width=8),
        ),
        item=(
            Categorical(name="item_id", width=8),
            MultiCategorical(name="genres", width=8),
            LightGCN(name="near", of="item_id", to="user_id", width=8),
        ),
        tasks=(
            Binary(name="like", label="rating >= 4", tower=(8,)),
            Binary(name="love", label="rating = 5", after="like", tower=(8,)),
            Regression(name="stars", label="rating", tower=(8,)),
            Multilabel(name="interest", label="CASE WHEN rating >= 4 THEN genres END", inputs="user", tower=(8,)),
        ),
        network=SharedBottom(hidden=(16,)),
        training=SHORT,
    )


@pytest.fixture
def table(world: pl.DataFrame, tmp_path: Path) -> Path:
    """The world in a folder of two files, in row groups."""
    (tmp_path / "world").mkdir()
    world[:4000].write_parquet(tmp_path / "world" / "1.parquet", row_group_size=900)
    world[4000:].write_parquet(tmp_path / "world" / "2.parquet")
    return tmp_path / "world"


def flat(value: Input) -> list[torch.Tensor]:
    if isinstance(value, Bag):
        return [value.values, value.offsets_B]
    return [*flat(value.elements), value.mask_BL] if isinstance(value, Padded) else [value]


def assert_same_rows(first: Prepared, second: Prepared) -> None:
    assert first.rows == second.rows
    assert list(first.columns) == list(second.columns)
    one, other = (rows.batch(torch.arange(rows.rows)) for rows in (first, second))
    for name, value in one.inputs.items():
        for a, b in zip(flat(value), flat(other.inputs[name]), strict=True):
            assert a.dtype == b.dtype and torch.equal(a, b), name
    for name in one.targets:
        assert torch.equal(one.targets[name], other.targets[name]), name
        assert torch.equal(one.masks[name], other.masks[name]), name


def assert_same(first: Stage, second: Stage) -> None:
    pairs = [(first.features, second.features), (first.tasks, second.tasks)]
    assert (first.frames is None) == (second.frames is None)
    if first.frames is not None:
        pairs.append((first.frames.by_name(), second.frames.by_name()))
    for frames, expected in pairs:
        assert list(frames) == list(expected)
        for name, frame in frames.items():
            assert frame.equals(expected[name]) and frame.schema == expected[name].schema, name
    assert_same_rows(first.rows, second.rows)
    assert first.observed == second.observed
    assert (first.held is None) == (second.held is None)
    if first.held is not None:
        assert_same_rows(first.held, second.held)
    assert (first.users is None) == (second.users is None)
    assert first.users is None or torch.equal(first.users, second.users)


def same_weights(first: Fitted, second: Fitted) -> bool:
    return all(torch.equal(value, second.parts.weights[name]) for name, value in first.parts.weights.items())


def folders(cache: Path) -> list[Path]:
    return sorted((cache / "prepared").iterdir()) if (cache / "prepared").is_dir() else []


class TestTheSame:
    @pytest.mark.parametrize("split", [SHORT.split, TimeSplit(), LastSplit(count=3)], ids=["random", "time", "last"])
    def test_as_preparing_in_memory(self, spec: Recommender, world: pl.DataFrame, table: Path, split):
        training = SHORT.replace(split=split, refit=True)
        spec.prepare(table, training=training)
        on_disk, in_memory = Stages(spec, table, None, training), Stages(spec, world, None, training)
        assert_same(on_disk.selection(), in_memory.selection())
        assert_same(on_disk.all_rows(), in_memory.all_rows())

    def test_with_a_validation_table(self, spec: Recommender, world: pl.DataFrame, table: Path, tmp_path: Path):
        held = world[5000:].drop("age").with_columns(age=pl.lit(30, dtype=pl.Int64), other=1)
        held.write_parquet(tmp_path / "held.parquet")
        training = SHORT.replace(refit=True)
        spec.prepare(table, tmp_path / "held.parquet", training)
        on_disk = Stages(spec, table, tmp_path / "held.parquet", training)
        in_memory = Stages(spec, world, held, training)
        assert_same(on_disk.selection(), in_memory.selection())
        assert_same(on_disk.all_rows(), in_memory.all_rows())
        assert on_disk.all_rows().rows.rows == 7000

    def test_with_side_tables(self, spec: Recommender, world: pl.DataFrame, tmp_path: Path):
        users = world.select("user_id", "age").unique("user_id", maintain_order=True)[:70]
        items = world.select("item_id", "genres").unique("item_id", maintain_order=True)
        world.drop("age", "genres").write_parquet(tmp_path / "rows.parquet")
        users.write_csv(tmp_path / "users.csv")
        items.write_parquet(tmp_path / "items.parquet")
        files = Tables(tmp_path / "rows.parquet", tmp_path / "users.csv", tmp_path / "items.parquet")
        folder = spec.prepare(files)
        frames = Tables(world.drop("age", "genres"), users, items)
        assert_same(Stages(spec, files, None, SHORT).selection(), Stages(spec, frames, None, SHORT).selection())
        users.with_columns(age=1).write_csv(tmp_path / "users.csv")
        assert spec.prepare(files) != folder

    def test_weights_are_bit_for_bit_those_of_a_fit_in_memory(self, spec: Recommender, world: pl.DataFrame, table: Path):
        training = SHORT.replace(refit=True)
        spec.prepare(table, training=training)
        on_disk = spec.fit(table, training=training, progress=False)
        in_memory = spec.fit(world, training=training, progress=False)
        assert same_weights(on_disk, in_memory)
        assert on_disk.curves == in_memory.curves
        assert on_disk.predict(world).equals(in_memory.predict(world))
        assert on_disk.recommend(user_id=107).equals(in_memory.recommend(user_id=107))
        facts = in_memory.parts.facts.data
        assert replace(on_disk.parts.facts.data, sha256="", validation_sha256="") == replace(
            facts, sha256="", validation_sha256=""
        )

    def test_negatives_and_pairs_have_their_items_and_groups(self, spec: Recommender, world: pl.DataFrame, table: Path):
        tasks = (
            Retrieval(name="next", label="rating >= 4", negatives=8),
            Pairwise(name="better", label="rating", within="user_id"),
        )
        declared = spec.replace(tasks=tasks)
        declared.prepare(table)
        on_disk, in_memory = (Stages(declared, data, None, SHORT).selection() for data in (table, world))
        assert_same(on_disk, in_memory)
        assert torch.equal(on_disk.rows.group_N, in_memory.rows.group_N)
        assert torch.equal(on_disk.rows.items.rows_I, in_memory.rows.items.rows_I)
        assert same_weights(declared.fit(table, progress=False), declared.fit(world, progress=False))


class TestFound:
    def test_a_second_preparation_does_nothing(self, spec: Recommender, table: Path, cache: Path):
        folder = spec.prepare(table)
        before = {path: path.stat().st_mtime_ns for path in folder.iterdir() if path.name != "used"}
        assert spec.prepare(table) == folder
        spec.fit(table, progress=False)
        assert {path: path.stat().st_mtime_ns for path in folder.iterdir() if path.name != "used"} == before
        assert folders(cache) == [folder]

    def test_a_fit_reads_nothing_of_a_table_that_was_prepared(self, spec: Recommender, world: pl.DataFrame, tmp_path: Path):
        """The file is garbage by now, but its remembered digest is that of the intact file."""
        from polyrec.data.read import digests

        path = tmp_path / "a.parquet"
        world.write_parquet(path)
        spec.prepare(path)
        expected, original = spec.fit(path, progress=False), digests.digest([path])
        path.write_bytes(b"no table at all")
        memory = digests._memory(path)
        memory.parent.mkdir()
        memory.write_text(json.dumps({"marks": digests._marks(path), "sha256": original}))
        assert same_weights(spec.fit(path, progress=False), expected)
        memory.unlink()
        with pytest.raises(UserError, match="expected a whole Parquet file"):
            spec.fit(path, progress=False)

    def test_only_what_it_depends_on_asks_for_another(self, spec: Recommender, world: pl.DataFrame, table: Path, cache: Path):
        first = spec.prepare(table)
        alike = [
            spec.replace(network=SharedBottom(hidden=(4,))).prepare(table),
            spec.replace(tasks=tuple(task.replace(tower=(3,)) for task in spec.tasks)).prepare(table),
            spec.prepare(table, training=SHORT.replace(epochs=7, learning_rate=1.0)),
            spec.prepare(str(table / "*.parquet")),
        ]
        assert set(alike) == {first}
        others = [
            spec.replace(tasks=(*spec.tasks[:2], spec.tasks[2].replace(label="rating + 1"), spec.tasks[3])).prepare(table),
            spec.replace(item=(spec.item[0].replace(minimum_count=90), *spec.item[1:])).prepare(table),
            spec.prepare(table, training=SHORT.replace(seed=1)),
            spec.prepare(table, training=SHORT.replace(split=TimeSplit())),
            spec.prepare(table, table / "2.parquet"),
        ]
        world[4000:].with_columns(age=pl.col("age") + 1).write_parquet(table / "2.parquet")
        others.append(spec.prepare(table))
        assert len({first, *others}) == 7
        assert folders(cache) == sorted({first, *others})

    def test_small_tables_stay_in_memory_unless_prepared_ahead(self, spec: Recommender, table: Path, cache: Path):
        spec.fit(table, progress=False)
        assert folders(cache) == []

    def test_large_tables_are_prepared_by_a_fit(self, spec: Recommender, table: Path, cache: Path, monkeypatch):
        monkeypatch.setattr("polyrec.prepare.stages.WORTH", 1000)
        first = spec.fit(table, training=SHORT.replace(refit=True), progress=False)
        assert len(folders(cache)) == 2
        assert same_weights(spec.fit(table, training=SHORT.replace(refit=True), progress=False), first)
        assert len(folders(cache)) == 2

    def test_what_is_no_parquet_cannot_be_prepared_ahead(self, spec: Recommender, world: pl.DataFrame, tmp_path: Path):
        with pytest.raises(UserError, match="data to prepare ahead: expected Parquet files"):
            spec.prepare(world)
        with pytest.raises(UserError, match=r"b\.parquet': expected a file.*found nothing there"):
            spec.prepare(tmp_path / "b.parquet")
        world.drop("genres").write_csv(tmp_path / "a.csv")
        with pytest.raises(UserError, match="data to prepare ahead: expected Parquet files"):
            spec.prepare(tmp_path / "a.csv")


class TestDamaged:
    @pytest.mark.parametrize("name", ["rows.bin", "held.bin", "manifest.json", "features-0.parquet", "frames-1.parquet"])
    @pytest.mark.parametrize("damage", ["cut", "gone", "empty"])
    def test_folders_are_built_again(self, spec: Recommender, world: pl.DataFrame, table: Path, name: str, damage: str):
        folder = spec.prepare(table)
        path = folder / name
        intact = path.read_bytes()
        path.unlink() if damage == "gone" else path.write_bytes(intact[: len(intact) // 2] if damage == "cut" else b"")
        assert spec.prepare(table) == folder
        assert path.read_bytes() == intact
        assert_same(Stages(spec, table, None, SHORT).selection(), Stages(spec, world, None, SHORT).selection())

    def test_a_flipped_bit_in_a_state_is_seen(self, spec: Recommender, world: pl.DataFrame, table: Path):
        folder = spec.prepare(table)
        path = folder / "features-0.parquet"
        content = bytearray(path.read_bytes())
        content[len(content) // 3] ^= 1
        path.write_bytes(bytes(content))
        assert_same(Stages(spec, table, None, SHORT).selection(), Stages(spec, world, None, SHORT).selection())

    def test_a_store_that_cannot_be_written_is_done_without(self, spec: Recommender, table: Path, cache: Path, monkeypatch):
        monkeypatch.setattr("polyrec.prepare.stages.WORTH", 1000)
        cache.write_text("no folder")
        with pytest.warns(UserWarning, match="preparing in memory"):
            spec.fit(table, progress=False)
        with pytest.raises(UserError, match="expected a folder to write to"):
            spec.prepare(table)


@pytest.fixture
def meddling() -> Iterator[type[Categorical]]:
    """A kind of feature that changes a file while it learns from it."""

    class Meddling(Categorical):
        path: str

        def fit(self, values: pl.DataFrame) -> pl.DataFrame:
            pl.read_parquet(self.path).reverse().write_parquet(self.path)
            return super().fit(values)

    yield Meddling
    del Feature._kinds["Meddling"]


def test_a_file_that_changes_while_it_is_read_is_refused(
    spec: Recommender, world: pl.DataFrame, tmp_path: Path, cache: Path, meddling: type[Categorical]
):
    path = tmp_path / "a.parquet"
    world.write_parquet(path)
    declared = spec.replace(features=(meddling(name="again", column="user_id", path=str(path)),))
    with pytest.raises(UserError, match="expected files that do not change while they are read, found a change"):
        declared.prepare(path)
    assert folders(cache) == []


class TestLimit:
    def test_the_least_recently_used_go_first(self, spec: Recommender, table: Path, cache: Path, monkeypatch):
        made = [spec.prepare(table, training=SHORT.replace(seed=seed)) for seed in range(3)]
        for age, folder in zip((30, 10, 20), made, strict=True):
            os.utime(folder / "used", (1e9 - age, 1e9 - age))
        size = sum(path.stat().st_size for path in made[0].iterdir())
        monkeypatch.setenv("POLYREC_PREPARED_GIB", str(2.5 * size / 2**30))
        last = spec.prepare(table, training=SHORT.replace(seed=3))
        assert folders(cache) == sorted([made[1], last])

    def test_the_one_in_use_stays_even_when_it_is_too_large(self, spec: Recommender, table: Path, cache: Path, monkeypatch):
        monkeypatch.setenv("POLYREC_PREPARED_GIB", "0.000001")
        assert folders(cache) == [] and folders(cache) != [spec.prepare(table)] == folders(cache)

    def test_of_zero_keeps_none(self, spec: Recommender, world: pl.DataFrame, table: Path, cache: Path, monkeypatch):
        monkeypatch.setenv("POLYREC_PREPARED_GIB", "0")
        monkeypatch.setattr("polyrec.prepare.stages.WORTH", 1000)
        assert_same(Stages(spec, table, None, SHORT).selection(), Stages(spec, world, None, SHORT).selection())
        assert folders(cache) == []
        with pytest.raises(UserError, match="expected room for prepared tables"):
            spec.prepare(table)
        monkeypatch.setenv("POLYREC_PREPARED_GIB", "many")
        with pytest.raises(UserError, match="POLYREC_PREPARED_GIB: expected a size in GiB"):
            spec.fit(table, progress=False)

    def test_what_was_never_finished_goes_after_a_day(self, spec: Recommender, table: Path, cache: Path):
        old, young = cache / "prepared" / ".old", cache / "prepared" / ".young"
        for folder in (old, young):
            folder.mkdir(parents=True)
        os.utime(old, (1e9, 1e9))
        made = spec.prepare(table)
        assert folders(cache) == sorted([made, young])


@pytest.mark.slow
def test_two_processes_that_prepare_at_once_do_not_disturb_each_other(
    spec: Recommender, world: pl.DataFrame, table: Path, cache: Path, tmp_path: Path
):
    spec.to_yaml(tmp_path / "spec.yaml")
    code = (
        "import sys, polyrec\n"
        "spec = polyrec.Recommender.from_yaml(sys.argv[1])\n"
        "print(spec.prepare(sys.argv[2]))\n"
        "spec.fit(sys.argv[2], progress=False)\n"
    )
    command = [sys.executable, "-W", "error", "-c", code, str(tmp_path / "spec.yaml"), str(table)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    printed = {process.communicate()[0].strip() for process in running}
    assert [process.returncode for process in running] == [0] * 2
    assert {str(folder) for folder in folders(cache)} == printed
    assert_same(Stages(spec, table, None, SHORT).selection(), Stages(spec, world, None, SHORT).selection())


class TestTooLargeForMemory:
    @pytest.fixture(autouse=True)
    def _small_memory(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(stage_folder, "IN_MEMORY", 1000)
        monkeypatch.setattr(shuffle, "BLOCK", 100)
        monkeypatch.setattr(prepared, "WINDOW", 4)

    def test_an_epoch_has_every_row_once_in_another_order(self, spec: Recommender, table: Path):
        spec.prepare(table)
        rows = Stages(spec, table, None, SHORT).selection().rows
        assert rows.read_blocks is not None
        torch.manual_seed(0)
        complete = rows.batch(torch.arange(rows.rows))
        seen = [part.batch(rows_B) for part, rows_B in rows.epoch(128)]
        assert sum(batch.size for batch in seen) == rows.rows
        for name in ("stars", "like"):
            assert torch.equal(torch.cat([batch.targets[name] for batch in seen]).sort()[0], complete.targets[name].sort()[0])
        ids = [torch.stack([batch.inputs["user_id"], batch.inputs["item_id"]], 1) for batch in [complete, *seen]]
        assert torch.equal(torch.cat(ids[1:]).unique(dim=0, return_counts=True)[1], ids[0].unique(dim=0, return_counts=True)[1])

    def test_a_fit_is_a_function_of_its_seed(self, spec: Recommender, table: Path, world: pl.DataFrame):
        spec.prepare(table)
        first, again = (spec.fit(table, progress=False) for _ in range(2))
        assert same_weights(first, again)
        assert not same_weights(first, spec.fit(world, progress=False))

    def test_rows_of_a_group_meet_in_a_batch(self, spec: Recommender, world: pl.DataFrame, tmp_path: Path):
        """Sessions of five rows lie scattered over the table; in an epoch they are neighbours."""
        sessions = world.with_columns(session=pl.int_range(pl.len()) % (world.height // 5))
        sessions.write_parquet(tmp_path / "sessions.parquet")
        declared = spec.replace(
            tasks=(
                Pairwise(name="better", label="rating", within="session"),
                Retrieval(name="next", label="rating >= 4", negatives=8),
            )
        )
        training = SHORT.replace(split=LastSplit())
        declared.prepare(tmp_path / "sessions.parquet", training=training)
        on_disk = Stages(declared, tmp_path / "sessions.parquet", None, training).selection().rows
        in_memory = Stages(declared, sessions, None, training).selection().rows
        group = torch.cat([part.group_N[rows_B] for part, rows_B in on_disk.epoch(64)]).tolist()
        assert sum(a != b for a, b in pairwise(group)) + 1 == len(set(group)) == len(in_memory.group_N.unique())
        items = [rows.batch(rows.items.rows_I).inputs["item_id"] for rows in (on_disk, in_memory)]
        assert torch.equal(items[0].sort()[0], items[1].sort()[0])
        for part, rows_B in on_disk.epoch(64):
            drawn = part.batch(rows_B, torch.arange(3)).inputs["item_id"][-3:]
            assert torch.equal(drawn, items[0][:3])
        assert declared.fit(tmp_path / "sessions.parquet", training=training, progress=False).curves

    def test_goes_on_when_the_folder_is_removed(self, spec: Recommender, table: Path):
        folder = spec.prepare(table)
        rows = Stages(spec, table, None, SHORT).selection().rows
        shutil.rmtree(folder)
        assert sum(part.batch(rows_B).size for part, rows_B in rows.epoch(512)) == rows.rows


_MEASURED = """
import re, sys
from pathlib import Path
import polars as pl
import torch
from polyrec import Binary, Categorical, Numeric, Recommender
from polyrec.prepare.stages import Stages

columns = [f"c{i}" for i in range(12)]
spec = Recommender(
    features=(*(Categorical(name=name) for name in columns), Numeric(name="n")), tasks=(Binary(name="y", label="y"),)
)
peak = lambda: 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
pl.read_parquet(sys.argv[1], n_rows=100_000)
before = peak()
if sys.argv[2] == "prepared":
    spec.prepare(sys.argv[1])
else:
    Stages(spec, pl.read_parquet(sys.argv[1]), None, spec.training).selection()
print(peak() - before)
"""


@pytest.mark.slow
def test_preparing_takes_a_fraction_of_the_memory_of_the_table(tmp_path: Path):
    """Two million rows of 13 columns are 208 MB; on disk they are prepared a column or two at a time."""
    generator = np.random.default_rng(0)
    columns = {f"c{i}": generator.integers(10 ** (1 + i % 5), size=2_000_000) for i in range(12)}
    frame = pl.DataFrame({**columns, "n": generator.normal(size=2_000_000), "y": columns["c0"] > 4})
    frame.write_parquet(tmp_path / "a.parquet", row_group_size=250_000)
    peaks = {}
    for kind in ("prepared", "memory"):
        command = [sys.executable, "-c", _MEASURED, str(tmp_path / "a.parquet"), kind]
        peaks[kind] = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert peaks["prepared"] < peaks["memory"] / 2
