"""A complete comparison on the small world: killed in the middle, finished, and read back."""

import json
import os
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from threading import Event

import numpy as np
import polars as pl
import pytest
from scipy import stats
from typer.testing import CliRunner

from polyrec import Recommender, UserError
from polyrec.cli.app import app, main
from polyrec.compare.comparison import Comparison
from polyrec.compare.fits import pool
from polyrec.compare.fits.boosting import boost, require_lightgbm
from polyrec.compare.fits.job import Job
from polyrec.compare.fits.worker import run
from polyrec.compare.page import improvements
from polyrec.compare.run import compare
from polyrec.compare.vary import read_options
from polyrec.evaluate.bootstrap import multiplicities
from polyrec.evaluate.metrics.metrics import METRICS
from polyrec.evaluate.metrics.observed import Observed

VARIED = ["network={kind: SharedBottom, hidden: [16]}", "training.learning_rate=1.0e+30"]


@pytest.fixture(scope="module")
def spec(small: Recommender) -> Recommender:
    """Two tasks, one of them with several outputs, in two epochs."""
    training = small.training.replace(epochs=2, batch_size=256)
    return small.replace(tasks=(small.tasks[0], small.tasks[2]), fusion={"kind": "Add"}, training=training)


Outcome = tuple[Path, set[str], Comparison]


def command(folder: Path, *more: str) -> list[str]:
    """Return the arguments of `polyrec` for the comparison in a folder that holds spec.yaml and data.parquet."""
    paths = [folder / "spec.yaml", "--data", folder / "data.parquet", "--out", folder / "out"]
    options = [argument for option in VARIED for argument in ("--vary", option)]
    numbers = ["--seeds", "2", "--trials", "2", "--resamples", "20", "--jobs", "1"]
    return ["compare", *map(str, paths), *options, "--one-at-a-time", *numbers, *more]


def finished(out: Path) -> set[str]:
    return {path.parent.name for path in out.glob("runs/*/result.json") if not path.parent.name.startswith(".")}


def run_here(job: Job, folder: Path, stop: Event) -> str | None:
    """Do a job in this process, where `pool` starts one of its own: no import, but no memory of its own either."""
    try:
        run(job, folder)
    except UserError as error:
        return str(error)
    return None


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory, spec: Recommender, world: pl.DataFrame) -> Outcome:
    """A comparison whose process was killed after some fits, and then run to its end: folder, fits before, the rest.

    The fits before the kill are those of real processes.
    """
    folder = tmp_path_factory.mktemp("compare")
    out, table = folder / "out", world[:1500]
    table.write_parquet(folder / "data.parquet")
    spec.to_yaml(folder / "spec.yaml")
    comparing = [sys.executable, "-m", "polyrec", *command(folder)]
    process = subprocess.Popen(comparing, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while len(finished(out)) < 3 and process.poll() is None:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (out / "report.json").exists()
    before, varied = finished(out), read_options(VARIED)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool, "_run", run_here)
        rest = compare(spec, table, out, varied=varied, one_at_a_time=True, progress=False, seeds=2, trials=2, resamples=20)
    return out, before, rest


def contenders(document: dict, role: str) -> list[dict]:
    return [entry for entry in document["contenders"] if entry["role"] == role]


def test_what_was_done_before_a_kill_is_not_done_again(outcome: Outcome):
    out, before, result = outcome
    assert len(before) >= 3
    assert not before & set(result.done)
    assert len(set(result.done)) == len(result.done)
    # Contenders: two single-task models, two arms and the tuned weights, each with 2 trials and 1 more seed. The first trial of
    # the tuned weights, equal ones, is that of the declaration, whose other seed is shared too if it is the one chosen. The arm
    # that fails leaves no fit behind.
    shared = 1 + (contenders(result.to_dict(), "weights")[0]["chosen"] == 0 == contenders(result.to_dict(), "arm")[0]["chosen"])
    assert len(finished(out)) == 5 * 3 - shared


@pytest.mark.slow
def test_the_command_does_nothing_twice_and_prints_the_same(outcome: Outcome):
    """But for the arm that fails, which it tries anew, in processes: their errors are those of its fits here."""
    out, _, result = outcome
    times = {path: path.stat().st_mtime_ns for path in out.glob("runs/*/*")}
    done = CliRunner().invoke(app, command(out.parent, "--json"))
    assert json.loads(done.stdout) == result.to_dict()
    assert {path: path.stat().st_mtime_ns for path in out.glob("runs/*/*")} == times


def test_a_mistake_ends_with_one_line(outcome: Outcome, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(sys, "argv", ["polyrec", *command(outcome[0].parent, "--vary", "netwrok=PLE")])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    errors = capsys.readouterr().err
    assert "Did you mean 'network'?" in errors
    assert "Traceback" not in errors


def test_a_failing_arm_is_reported_and_the_others_stand(outcome: Outcome):
    _, _, result = outcome
    given, shared, failing = contenders(result.to_dict(), "arm")
    assert (given["name"], shared["name"]) == ("MMoE · learning_rate=0.01", "SharedBottom")
    assert given["own"] and given["error"] is None and shared["error"] is None
    assert failing["name"] == "learning_rate=1e+30"
    assert "the utility on validation" in failing["error"]
    assert failing["figures"] == {}


def test_the_chosen_trial_is_the_best_on_validation(outcome: Outcome):
    _, _, result = outcome
    for contender in result.contenders:
        if contender.error is None:
            assert contender.chosen_trial is not None
            assert contender.chosen_trial.utility == max(trial.utility for trial in contender.trials)
            assert contender.seeds[0].run == contender.chosen_trial.run
            assert [seed.seed for seed in contender.seeds] == [0, 1]


def test_figures_are_those_of_the_saved_predictions(outcome: Outcome):
    """Labels by hand from the test table, metrics, difference and interval anew."""
    out, _, result = outcome
    document = result.to_dict()
    assert json.loads((out / "report.json").read_text(encoding="utf-8")) == document
    test = pl.read_parquet(out / "data" / f"{document['data']['test_sha256']}.parquet")
    like = (test["rating"] >= 4).to_numpy()
    genres = np.array([[name in row for name in ("comedy", "drama", "war")] for row in test["genres"]])
    users = test["user_id"].to_numpy()
    for task, mask, target, metric in (
        ("like", np.ones(test.height, dtype=bool), like, "auc"),
        ("interest", like, genres[like], "micro_auc"),
    ):

        def observed(contender: dict, task=task, mask=mask, target=target) -> list[Observed]:
            arrays = [np.load(out / "runs" / seed["run"] / "predictions.npz")[f"task.{task}"] for seed in contender["seeds"]]
            return [Observed(array[mask], target.astype(float), users[mask]) for array in arrays]

        single = next(entry for entry in contenders(document, "single") if entry["tasks"] == [task])
        arm = contenders(document, "arm")[1]
        baseline, judged = observed(single), observed(arm)
        values = [np.array([METRICS[metric](seed) for seed in seeds]) for seeds in (baseline, judged)]
        figure = arm["figures"][task][metric]
        assert figure["values"] == pytest.approx(values[1])
        assert single["figures"][task][metric]["mean"] == pytest.approx(values[0].mean())
        spread = [
            np.mean([METRICS[metric](two.weighted(draw)) - METRICS[metric](one.weighted(draw)) for one, two in pairs])
            for draw in multiplicities(users[mask], int(mask.sum()), 20, seed=0)
            for pairs in [list(zip(baseline, judged, strict=True))]
        ]
        difference = values[1] - values[0]
        parts = [np.var(difference, ddof=1) / 2, np.var(spread, ddof=1)]
        degrees = sum(parts) ** 2 / (parts[0] ** 2 / 1 + parts[1] ** 2 / (len(set(users[mask])) - 1))
        reach = stats.t.ppf(0.975, degrees) * np.sqrt(sum(parts))
        assert figure["difference"] == pytest.approx(difference.mean())
        assert (figure["low"], figure["high"]) == pytest.approx((difference.mean() - reach, difference.mean() + reach))
        assert figure["gain_percent"] == pytest.approx(100 * difference.mean() / values[0].mean())
        assert figure["verdict"] in ("helps", "hurts", "unclear")


def test_headlines_alone_have_verdicts(outcome: Outcome):
    _, _, result = outcome
    for contender in result.contenders:
        for task, metrics in contender.figures.items():
            for metric, figure in metrics.items():
                is_headline = metric == result.tasks[task].headline and contender.role != "single"
                assert (figure.verdict is not None) == is_headline
                assert np.isnan(figure.adjusted_p) or (
                    figure.difference is not None and figure.adjusted_p >= figure.difference.p
                )


def test_costs_and_gates_are_reported(outcome: Outcome):
    _, _, result = outcome
    given, shared, _ = contenders(result.to_dict(), "arm")
    assert given["gates"]["effective_experts"].keys() == {"like", "interest"}
    assert shared["gates"] is None
    for arm in (given, shared):
        assert arm["cost"]["cpu_seconds"] > 0
        assert arm["cost"]["peak_bytes"] > 2**20
        assert arm["cost"]["parameters"] > 0
    for single in contenders(result.to_dict(), "single"):
        assert single["cost"]["parameters"] == pytest.approx(given["cost"]["parameters"], rel=0.05)


def test_page_and_picture_are_written_and_name_the_contenders(outcome: Outcome):
    out, _, result = outcome
    page = (out / "report.html").read_text(encoding="utf-8")
    for contender in result.contenders:
        assert contender.name in page
    assert "Welch-Satterthwaite" in page
    assert "<script" not in page
    assert (out / "report.png").read_bytes().startswith(b"\x89PNG")
    svg = improvements(result).svg()
    texts = {(element.text or "").strip() for element in ElementTree.fromstring(svg).iter()}
    assert {"SharedBottom", "tuned fixed weights", "helps"} <= texts


@pytest.mark.slow
def test_a_job_ends_with_its_input(outcome: Outcome, spec: Recommender, tmp_path: Path):
    out, _, result = outcome
    learn, test = (out / "data" / f"{getattr(result.data, name)}.parquet" for name in ("learning_sha256", "test_sha256"))
    job = Job(spec.replace(training=spec.training.replace(epochs=5000, patience=None)), learn, test)
    process = subprocess.Popen([sys.executable, "-m", "polyrec.compare.worker"], stdin=subprocess.PIPE, text=True)
    assert process.stdin is not None
    process.stdin.write(json.dumps({"job": job.document(), "folder": str(tmp_path / "run")}) + "\n")
    process.stdin.close()
    assert process.wait(timeout=30) == 1
    assert not (tmp_path / "run").exists()


def test_classes_without_training_rows_are_predicted_with_zero(tmp_path: Path, spec: Recommender, world: pl.DataFrame):
    """A genre of one row: whichever seed holds that row out must still predict as many columns as the others."""
    rare = world[:300].with_columns(
        genres=pl.when(pl.int_range(pl.len()) == 7).then(pl.lit(["western"])).otherwise(pl.col("genres")),
        rating=pl.when(pl.int_range(pl.len()) == 7).then(5).otherwise(pl.col("rating")),
    )
    rare.write_parquet(tmp_path / "learn.parquet")
    world[300:400].write_parquet(tmp_path / "test.parquet")
    seeds = [seed for seed in range(60) if spec.training.split.fraction and held(spec, rare, seed)[7]]
    training = spec.training.replace(epochs=1, seed=seeds[0])
    run(Job(spec.replace(training=training), tmp_path / "learn.parquet", tmp_path / "test.parquet"), tmp_path / "run")
    interest = np.load(tmp_path / "run" / "predictions.npz")["task.interest"]
    assert interest.shape == (100, 4)
    assert (interest[:, 3] == 0).all()
    assert (interest[:, :3] > 0).all()


def held(spec: Recommender, frame: pl.DataFrame, seed: int) -> pl.Series:
    from polyrec.compare.fits.tables import rows_of

    return spec.training.split.held_out(rows_of(spec, frame), seed)


class TestBoosting:
    @pytest.mark.parametrize(("place", "metric", "least"), [(0, "auc", 0.85), (1, "r2", 0.6)])
    def test_learns_the_world(self, small: Recommender, split, place: int, metric: str, least: float):
        task = small.tasks[place]
        result, predictions = boost(small, task, 0.1, *split)
        target = (split[1]["rating"] >= 4 if task.name == "like" else split[1]["rating"]).to_numpy().astype(float)
        assert METRICS[metric](Observed(predictions[task.name], target)) > least
        assert 0 < result.best_epoch <= result.epochs
        assert 0 < result.utility < 1

    def test_without_lightgbm_the_extra_is_named(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setitem(sys.modules, "lightgbm", None)
        with pytest.raises(ImportError, match=r"pip install 'polyrec\[compare\]'"):
            require_lightgbm()
