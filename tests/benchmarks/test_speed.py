"""The speed benchmark: workers answer, those that die are told of, and the data are what they say."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def speed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """The modules of the benchmark, with a cache folder of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(FOLDER)
        patch.setenv("POLYREC_BENCHMARKS", str(tmp_path_factory.mktemp("cache")))
        names = ("arms_table", "auc", "data", "process", "roofline", "rounds", "sections", "workloads")
        yield SimpleNamespace(**{name: import_module(f"speed.{name}") for name in names})
        for name in [name for name in sys.modules if name.split(".")[0] == "speed"]:
            del sys.modules[name]


@pytest.fixture(scope="module")
def tiny(speed: SimpleNamespace) -> SimpleNamespace:
    """A workload of two thousand rows, its plan and its job."""
    shape = replace(speed.workloads.W2, vocabularies=(500, 500, 50), numbers=2, test_rows=2000)
    size = speed.workloads.Size(width=4, experts=2, hidden=(8, 4), tower=(4,))
    workload = replace(speed.sections.WORKLOADS["W2"], shape=shape, size=size)
    plan = speed.sections.Plan(rows=2000, rounds=2, batches=(500,))
    return SimpleNamespace(workload=workload, plan=plan, job=workload.jobs(plan)["batch 500"])


@pytest.mark.slow
class TestWorkers:
    def test_the_plain_loop_answers_with_times_samples_memory_and_auc(self, speed: SimpleNamespace, tiny: SimpleNamespace):
        worker = speed.process.Worker("bare", speed.arms_table.ARMS["bare"])
        answer = worker.ask("train", {**tiny.job, "seed": 0})
        worker.close()
        assert answer["samples"] == 2000
        assert 0 < answer["cpu_seconds"] < 60
        assert 0 < answer["wall_seconds"] < 60
        assert 50 < answer["peak_mb"] < 5000
        assert 0.4 < answer["auc"] < 1
        assert worker.process.returncode == 0

    def test_a_worker_that_dies_is_told_of_with_its_last_line(self, speed: SimpleNamespace, tiny: SimpleNamespace):
        worker = speed.process.Worker("bare", speed.arms_table.ARMS["bare"])
        with pytest.raises(speed.process.WorkerError, match=r"status 1: KeyError: 'ids'"):
            worker.ask("train", {**tiny.job, "seed": 0, "data": "nowhere"})
        worker.close()

    def test_an_arm_that_dies_leaves_the_others_to_go_on(
        self, speed: SimpleNamespace, tiny: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setitem(speed.arms_table.ARMS, "lost", speed.arms_table.Arm("no_such_module", ("W2",)))
        said: list[str] = []
        rounds = speed.rounds.Rounds(tiny.workload, tiny.plan, ["lost", "bare"], said.append)
        for number in range(2):
            rounds.run(number)
        rounds.close()
        told = rounds.told()
        assert "ModuleNotFoundError: No module named 'speed.arms.no_such_module'" in told["failed"]["lost"]
        rate = told["arms"]["bare"]["batch 500"]["samples per CPU-second"]
        assert len(rate["runs"]) == 2
        assert rate["lowest"] <= rate["median"] <= rate["highest"]
        assert len(told["arms"]["bare"]["batch 500"]["auc"]["runs"]) == 2
        assert sum("lost" in line and "round" in line for line in said) == 1


@pytest.mark.slow
class TestDriver:
    def test_it_writes_figures_and_a_picture(self, tmp_path: Path):
        out = tmp_path / "speed.json"
        options = ["--rows", "2000", "--rounds", "1", "--only", "W1", "--arms", "bare", "--out", str(out), "--json"]
        run = subprocess.run(
            [sys.executable, FOLDER / "speed", *options],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "POLYREC_BENCHMARKS": str(tmp_path)},
        )
        written = json.loads(out.read_text())
        assert json.loads(run.stdout) == written
        told = written["workloads"]["W1"]
        assert told["seeds"] == [0]
        assert told["failed"] == {}
        assert set(told["arms"]["bare"]) == {"batch 32", "batch 4096"}
        assert told["versions"]["bare"]["torch"]
        assert out.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


class TestData:
    def test_the_file_holds_the_rows_of_the_arrays(self, tiny: SimpleNamespace):
        frame = pl.read_parquet(Path(tiny.job["data"]) / "train.parquet")
        assert frame.shape == (2000, 3 + 2 + 3)
        numbers = np.load(Path(tiny.job["data"]) / "train.ids.npy")
        for at, name in enumerate(("id0", "id1", "id2")):
            assert numbers[:, at].min() == 1
            np.testing.assert_array_equal(numbers[:, at], frame[name].rank("dense"))
            assert tiny.job["shape"]["vocabularies"][at] == 1 + frame[name].n_unique()
        np.testing.assert_array_equal(frame.select("y0", "y1", "y2"), np.load(Path(tiny.job["data"]) / "train.labels.npy"))

    def test_ids_that_no_training_row_has_are_number_0(self, tiny: SimpleNamespace):
        train, test = (pl.read_parquet(Path(tiny.job["data"]) / f"{part}.parquet") for part in ("train", "test"))
        numbers = np.load(Path(tiny.job["data"]) / "test.ids.npy")
        unknown = ~test["id0"].is_in(train["id0"].unique().implode())
        assert 0 < unknown.sum() < 1000
        np.testing.assert_array_equal(numbers[:, 0] == 0, unknown)

    def test_more_rows_begin_with_the_fewer(self, speed: SimpleNamespace):
        shape = replace(speed.workloads.W1, seed=3)
        fewer, more = (next(iter(speed.data.pieces(shape, rows))) for rows in (speed.data.PIECE, speed.data.PIECE + 1))
        np.testing.assert_array_equal(fewer.labels_NT, more.labels_NT)

    def test_labels_are_drawn_with_the_chances_told(self, speed: SimpleNamespace):
        piece = speed.data.draw(speed.workloads.W2, 0, 50_000)
        for task in range(3):
            high = piece.chances_NT[:, task] > 0.7
            assert piece.labels_NT[high, task].mean() == pytest.approx(piece.chances_NT[high, task].mean(), abs=0.01)

    def test_no_model_can_do_better_than_the_auc_that_the_data_sets_tell(self, speed: SimpleNamespace):
        piece = speed.data.draw(speed.workloads.W2, 0, 100_000)
        assert speed.auc.mean_auc(piece.labels_NT, piece.chances_NT) == pytest.approx(0.85, abs=0.01)


class TestCounts:
    def test_the_roofline_counts_the_products_of_the_model(self, speed: SimpleNamespace):
        shape, size = speed.workloads.W2, speed.workloads.Size()
        assert speed.roofline.flops(shape, size) == pytest.approx(5.84e6, rel=0.002)
        assert speed.roofline.traffic(shape, size) == 12_800

    def test_auc_counts_ties_half(self, speed: SimpleNamespace):
        labels, scores = np.array([1, 0, 1, 0]), np.array([0.9, 0.1, 0.5, 0.5])
        assert speed.auc.auc(labels, scores) == (1 + 1 + 1 + 0.5) / 4
