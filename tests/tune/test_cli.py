"""`polyrec tune` as a user runs it."""

import io
import json
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import polars as pl
import pytest

from polyrec import Binary, Categorical, Choice, Recommender, SharedBottom, Training
from polyrec.cli.app import main


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, world: pl.DataFrame) -> Path:
    folder = tmp_path_factory.mktemp("tune")
    world[:1000].write_parquet(folder / "ratings.parquet")
    Recommender(
        item=(Categorical(name="item_id", width=8),),
        tasks=(Binary(name="like", label="rating >= 4", tower=()),),
        network=SharedBottom(hidden=(8,)),
        training=Training(epochs=2, batch_size=256),
        search={"training.learning_rate": Choice(options=(1e-5, 0.03))},
    ).to_yaml(folder / "spec.yaml")
    return folder


def run(folder: Path, *arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run the command in this process: `main` is all that `python -m polyrec` calls."""
    command = ["polyrec", "tune", "spec.yaml", "--data", "ratings.parquet", *map(str, arguments)]
    output, errors = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(output), redirect_stderr(errors):
        patch.setattr(sys, "argv", command)
        patch.chdir(folder)
        with pytest.raises(SystemExit) as ended:
            main()
    done = subprocess.CompletedProcess(command, int(ended.value.code or 0), output.getvalue(), errors.getvalue())
    assert done.returncode == code, done.stderr + done.stdout
    return done


def start(folder: Path, *arguments: object) -> str:
    """Run the command in a process of its own, in which a warning is an error, and return what it prints."""
    command = [sys.executable, "-W", "error", "-m", "polyrec", "tune", "spec.yaml", "--data", "ratings.parquet"]
    return subprocess.run([*command, *map(str, arguments)], capture_output=True, text=True, check=True, cwd=folder).stdout


def test_declared_and_given_ranges_are_searched_and_the_best_is_written(folder: Path):
    told = json.loads(run(folder, "--out", "t", "--trials", 3, "--range", "network.dropout=0.0..0.5", "--json").stdout)
    assert told["trials"] == {"complete": 3, "pruned": 0, "failed": 0, "interrupted": 0}
    assert {path.name for path in (folder / "t").iterdir()} >= {"best.yaml", "trials.json", "tuning.html", "study.db"}
    best = Recommender.from_yaml(folder / "t" / "best.yaml")
    assert best.search == {}
    assert best.training.learning_rate == told["best"]["parameters"].get("training.learning_rate", 1e-3)
    assert told["best"]["values"]["utility"] >= told["declared"]["utility"]
    more = start(folder, "--out", "t", "--trials", 3, "--range", "network.dropout=0.0..0.5")
    assert "best" in more
    assert "Wrote t: fit best.yaml" in more


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--range", "training.lerning_rate=1e-4..1e-2"), "Did you mean 'learning_rate'"),
        (("--range", "training.seed=1..9"), "how it is judged"),
        (("--objective", "like.acu"), "Did you mean 'like.auc'"),
        (("--range", "training.learning_rate"), "found no PATH=VALUES"),
    ],
)
def test_a_mistake_ends_with_one_clear_line(folder: Path, arguments: tuple[str, ...], message: str):
    done = run(folder, "--out", "mistake", *arguments, code=2)
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (folder / "mistake").exists()


def test_without_optuna_the_extra_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert "pip install 'polyrec[tune]'" in run(folder, "--out", "none", "--trials", 1, code=2).stderr


def test_help_has_an_example(folder: Path):
    assert "Example: polyrec tune" in run(folder, "--help").stdout
