"""The command line, run as a user runs it."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import polars as pl
import pytest
from typer.main import get_command
from typer.testing import CliRunner

import polyrec
from polyrec import Binary, Categorical, Numeric, Platt, Recommender, Training, kinds
from polyrec.cli.app import app, main


def run(*arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run the command in this process: `main` is all that `python -m polyrec` calls."""
    output, errors = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(output), redirect_stderr(errors):
        patch.setattr(sys, "argv", ["polyrec", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
    done = subprocess.CompletedProcess(arguments, int(ended.value.code or 0), output.getvalue(), errors.getvalue())
    assert done.returncode == code, done.stderr + done.stdout
    return done


def start(*arguments: object) -> str:
    """Run the command in a process of its own and return what it prints."""
    command = [sys.executable, "-m", "polyrec", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, small: Recommender, split) -> Path:
    """A folder with spec.yaml, ratings.parquet, test.parquet and, fitted by the command, artifact/."""
    folder = tmp_path_factory.mktemp("cli")
    small.to_yaml(folder / "spec.yaml")
    split[0].write_parquet(folder / "ratings.parquet")
    split[1].write_parquet(folder / "test.parquet")
    done = run("fit", folder / "spec.yaml", "--data", folder / "ratings.parquet", "--out", folder / "artifact")
    assert "best on validation" in done.stdout
    return folder


class TestFit:
    def test_gives_the_same_scores_as_python(self, folder: Path, fitted, split):
        assert polyrec.load(folder / "artifact").predict(split[1]).equals(fitted.predict(split[1]))

    def test_writes_a_page_of_curves_and_calibration(self, folder: Path, tmp_path: Path, small: Recommender):
        training = small.training.replace(epochs=2, probe=1)
        small.replace(calibration={"like": Platt()}, training=training).to_yaml(tmp_path / "spec.yaml")
        data, page = folder / "ratings.parquet", tmp_path / "page.html"
        run("fit", tmp_path / "spec.yaml", "--data", data, "--out", tmp_path / "a", "--report", page, "--quiet")
        text = page.read_text(encoding="utf-8")
        assert text.count("<svg") == 2
        assert "Calibration of like" in text
        assert "like|stars.cosine" in text

    def test_of_a_table_prepared_ahead_gives_the_same_scores(self, folder: Path, tmp_path: Path, fitted, split, monkeypatch):
        monkeypatch.setenv("POLYREC_CACHE", str(tmp_path))
        arguments = [folder / "spec.yaml", "--data", folder / "ratings.parquet"]
        (prepared,) = run("prepare", *arguments).stdout.split()
        assert Path(prepared).parent == tmp_path / "prepared"
        run("fit", *arguments, "--out", tmp_path / "a", "--quiet")
        assert polyrec.load(tmp_path / "a").predict(split[1]).equals(fitted.predict(split[1]))
        assert [path.name for path in (tmp_path / "prepared").iterdir()] == [Path(prepared).name]
        done = run("prepare", folder / "spec.yaml", "--data", folder / "spec.yaml", code=2)
        assert "expected Parquet files" in done.stderr

    def test_leaves_no_checkpoint_behind(self, folder: Path):
        assert {path.name for path in folder.iterdir()} >= {"artifact"}
        assert not (folder / "artifact.checkpoint").exists()

    @pytest.mark.slow
    def test_resumes_what_was_killed(self, folder: Path, tmp_path: Path, small: Recommender, fitted, split):
        small.replace(training=small.training.replace(epochs=40, patience=None)).to_yaml(tmp_path / "long.yaml")
        arguments = ["fit", tmp_path / "long.yaml", "--data", folder / "ratings.parquet", "--out", tmp_path / "a", "--quiet"]
        process = subprocess.Popen([sys.executable, "-m", "polyrec", *map(str, arguments)], stdout=subprocess.DEVNULL)
        while not (tmp_path / "a.checkpoint" / "selection").exists() and process.poll() is None:
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert not (tmp_path / "a").exists()
        run(*arguments, "--resume")
        whole = Recommender.from_yaml(tmp_path / "long.yaml").fit(split[0], progress=False)
        assert polyrec.load(tmp_path / "a").predict(split[1]).equals(whole.predict(split[1]))


class TestAnswers:
    def test_evaluate(self, folder: Path):
        arguments = ("evaluate", folder / "artifact", "--data", folder / "test.parquet", "--slice", "item_id", "--k", 5)
        told = json.loads(run(*arguments, "--json").stdout)
        assert {"tasks", "fusion", "rows"} <= set(told)
        assert told["rows"] == 1000
        assert told["tasks"]["like"]["auc"] > 0.8
        assert "ndcg@5" in told["fusion"]
        assert "item_id" in run(*arguments).stdout

    def test_evaluate_tells_who_is_shown(self, folder: Path):
        arguments = ("evaluate", folder / "artifact", "--data", folder / "test.parquet", "--exposure", "item_id")
        told = json.loads(run(*arguments, "--json").stdout)
        assert sum(own["exposure"] for own in told["exposure"]["item_id"]) == pytest.approx(1)
        assert {"novelty@10", "diversity_item_id@10", "gini@10"} <= set(told["beyond_accuracy"])
        assert set(told["fusion_cost"]) == {"like", "stars"}

    def test_off_policy(self, folder: Path, tmp_path: Path, fitted):
        best = {user: fitted.recommend(user_id=user, k=2)["item_id"].to_list() for user in range(100, 140)}
        rows = [(user, user, best[user][user % 2], 0.5, user % 3 == 0, 0.5 + 0.25 * (-1) ** user) for user in best]
        log = pl.DataFrame(rows, ["request", "user", "item", "propensity", "click", "p_new"], orient="row")
        log.write_parquet(tmp_path / "log.parquet")
        arguments = ("off-policy", "--log", tmp_path / "log.parquet", "--reward", "click")
        told = json.loads(run(*arguments, "--target-column", "p_new", "--json").stdout)
        assert told == polyrec.off_policy(log, "p_new").to_dict()
        greedy = json.loads(run(*arguments, "--artifact", folder / "artifact", "--predicted", "like", "--json").stdout)
        assert greedy == polyrec.off_policy(log, fitted, predicted="like").to_dict()
        shown = log.select("request", "item", probability="p_new")
        others = shown.with_columns(item=-1, probability=1 - pl.col("probability")).cast({"item": pl.Int64})
        candidates = pl.concat([shown, others])
        candidates.write_parquet(tmp_path / "candidates.parquet")
        assert json.loads(run(*arguments, "--candidates", tmp_path / "candidates.parquet", "--json").stdout) == told
        text = run(*arguments, "--target-column", "p_new", "--ranks", 1, "--clip", 1.2, "--column", "user=user").stdout
        assert "clipped at 1.2" in text
        done = run(*arguments, "--target-column", "p_new", "--artifact", folder / "artifact", code=2)
        assert "expected one of three options, found 2" in done.stderr

    @pytest.mark.parametrize("ending", ["parquet", "csv"])
    def test_predict(self, folder: Path, tmp_path: Path, fitted, split, ending: str):
        out = tmp_path / f"scores.{ending}"
        run("predict", folder / "artifact", "--data", folder / "test.parquet", "--out", out)
        frame = pl.read_parquet(out) if ending == "parquet" else pl.read_csv(out)
        assert frame["score"].to_list() == pytest.approx(fitted.predict(split[1])["score"].to_list())

    def test_recommend(self, folder: Path, fitted):
        told = json.loads(run("recommend", folder / "artifact", "--user", 101, "-k", 3, "--json").stdout)
        assert [item["item_id"] for item in told["items"]] == fitted.recommend(user_id=101, k=3)["item_id"].to_list()
        steered = json.loads(run("recommend", folder / "artifact", "--user", 101, "--weight", "stars=-1", "--json").stdout)
        expected = fitted.recommend(user_id=101, weights={"stars": -1.0})
        assert [item["item_id"] for item in steered["items"]] == expected["item_id"].to_list()
        wrong = run("recommend", folder / "artifact", "--user", 101, "--weight", "stars", code=2)
        assert "option --weight stars: expected NAME=NUMBER" in wrong.stderr
        assert "Top 3 for a new user" in start("recommend", folder / "artifact", "--set", "age=30", "-k", 3)

    def test_recommend_keeps_columns_apart_from_parameters(self, tmp_path: Path, world: pl.DataFrame):
        spec = Recommender(
            user=(Categorical(name="user_id", width=4), Numeric(name="k"), Numeric(name="seed")),
            item=(Categorical(name="item_id", width=4),),
            tasks=(Binary(name="like", label="rating >= 4", tower=()),),
            training=Training(epochs=1),
        )
        rows = world.select("user_id", "item_id", "rating", k="age", seed="age").head(500)
        fitted = spec.fit(rows, progress=False)
        fitted.save(tmp_path / "artifact")
        done = CliRunner().invoke(
            app, ["recommend", str(tmp_path / "artifact"), "--set", "k=30", "--set", "seed=20", "-k", "4", "--json"]
        )
        assert done.exit_code == 0, done.exception
        items = json.loads(done.stdout)["items"]
        expected = fitted.recommend(4, features={"k": 30, "seed": 20})
        assert [item["item_id"] for item in items] == expected["item_id"].to_list()
        assert [item["like"] for item in items] == pytest.approx(expected["like"].to_list())

    def test_fuse(self, folder: Path, tmp_path: Path, fitted, split):
        arguments = ["fuse", folder / "artifact", "--data", folder / "test.parquet", "--trials", 5, "--out", tmp_path / "b"]
        utility, plot = ["--utility", "like.ndcg@5=1", "--utility", "stars.mean@5=0"], tmp_path / "front.png"
        told = json.loads(run(*arguments, *utility, "--plot", plot, "--json", "--quiet").stdout)
        found = fitted.tune_fusion(split[1], {"like.ndcg@5": 1.0, "stars.mean@5": 0.0}, trials=5)
        assert told == found.to_dict(trials=True)
        assert polyrec.load(tmp_path / "b").spec.fusion == found.best_fusion
        assert plot.read_bytes().startswith(b"\x89PNG")
        wrong = run(*arguments, "--utility", "like.ndgc@5=1", code=2)
        assert "Did you mean 'like.ndcg@10'" in wrong.stderr

    @pytest.mark.parametrize("form", ["onnx", "torch"])
    def test_export(self, folder: Path, tmp_path: Path, form: str):
        out = tmp_path / "model"
        assert "Wrote" in run("export", folder / "artifact", "--format", form, "--out", out).stdout
        told = json.loads((tmp_path / "model.json").read_text(encoding="utf-8"))
        assert told["format"] == form
        assert [output["name"] for output in told["outputs"]] == ["score", "like", "stars", "interest"]
        assert {path.name for path in tmp_path.iterdir()} == {"model", "model.json"}

    def test_kinds(self):
        told = json.loads(run("kinds", "--json").stdout)
        assert {"features", "networks", "tasks", "balancers", "fusions", "encoders"} <= set(told)
        assert told["networks"] == sorted(kinds("networks"))
        assert {"MMoE", "PLE", "SharedBottom"} <= set(told["networks"])
        assert {"Retrieval", "Censored", "Quantile"} <= set(told["tasks"])
        assert {"UPGrad", "GradNorm", "Hierarchical"} <= set(told["balancers"])
        shown = run("kinds").stdout
        assert "MMoE" in shown
        assert start("kinds") == shown

    def test_schema(self):
        told = json.loads(run("schema").stdout)
        assert told["title"] == "Recommender"
        assert told["$defs"]["networks.MMoE"] == polyrec.json_schema(Recommender)["$defs"]["networks.MMoE"]

    def test_datasets(self, tmp_path: Path):
        assert {told["name"] for told in json.loads(run("datasets", "--json").stdout)} == set(polyrec.datasets.DATASETS)
        assert "GroupLens" in run("datasets", "movielens-100k", "--out", tmp_path).stdout
        assert pl.read_parquet(tmp_path / "items.parquet").height == 1682


def test_the_version_is_printed():
    done = CliRunner().invoke(app, ["--version"])
    assert (done.exit_code, done.stdout) == (0, f"polyrec {polyrec.__version__}\n")
    assert "--version" in CliRunner().invoke(app, ["--help"]).stdout


@pytest.mark.parametrize("command", sorted(get_command(app).commands))
def test_every_command_has_help_with_an_example(command: str):
    told = CliRunner().invoke(app, [command, "--help"])
    assert told.exit_code == 0
    assert f"Example: polyrec {command}" in told.stdout


class TestMistakes:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["fit", "{folder}/nowhere.yaml", "--data", "x", "--out", "y"], "nowhere.yaml"),
            (
                ["fit", "{folder}/spec.yaml", "--data", "{folder}/rating.parquet", "--out", "y"],
                "Did you mean 'ratings.parquet'",
            ),
            (["evaluate", "{folder}", "--data", "x"], "expected an artifact"),
            (
                ["predict", "{folder}/artifact", "--data", "{folder}/test.parquet", "--out", "a.xlsx"],
                "expected a name in .parquet or .csv",
            ),
            (["recommend", "{folder}/artifact", "--set", "age"], "expected COLUMN=VALUE"),
            (["recommend", "{folder}/artifact", "--set", "agee=3"], "Did you mean 'age'"),
            (
                ["evaluate", "{folder}/artifact", "--data", "sqlite:///x.db", "--query", ""],
                "sql: String should have at least 1",
            ),
            (["datasets", "movielens"], "Did you mean 'movielens-100k'"),
        ],
    )
    def test_end_with_one_clear_line_and_code_2(
        self,
        folder: Path,
        arguments: list[str],
        message: str,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ):
        monkeypatch.setattr(sys, "argv", ["polyrec", *(argument.format(folder=folder) for argument in arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        told = capsys.readouterr()
        assert ended.value.code == 2
        assert message in told.err
        assert told.out == ""

    def test_a_failed_fit_leaves_nothing_half_written(self, folder: Path, tmp_path: Path):
        pl.read_parquet(folder / "ratings.parquet").drop("age").write_parquet(tmp_path / "r.parquet")
        done = run("fit", folder / "spec.yaml", "--data", tmp_path / "r.parquet", "--out", tmp_path / "out" / "a", code=2)
        assert "expected a column 'age'" in done.stderr
        assert not (tmp_path / "out").exists()
