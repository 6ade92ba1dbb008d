"""The README's program runs as written, and its YAML does the same through the commands."""

import contextlib
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

import polyrec
from polyrec import Recommender, datasets

ROOT = Path(__file__).parents[1]
PROGRAM, KIND = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict, str]:
    """Run the program in a folder with a sample of MovieLens; return the folder, its names and what it printed."""
    folder = tmp_path_factory.mktemp("readme")
    table = datasets.load("movielens-100k").table().sample(12_000, shuffle=True, seed=0)
    table[:10_000].write_parquet(folder / "ratings.parquet")
    table[10_000:].write_parquet(folder / "later.parquet")
    # The program ranks all items for every user of the test table: for some ninety here.
    table[10_000:].filter(pl.col("user_id") % 7 == 0).write_parquet(folder / "test.parquet")
    names: dict = {}
    printed = io.StringIO()
    before = Path.cwd()
    os.chdir(folder)
    try:
        with contextlib.redirect_stdout(printed):
            exec(compile(PROGRAM, "README.md", "exec"), names)
    finally:
        os.chdir(before)
    return folder, names, printed.getvalue()


def test_the_program_runs_and_learns(ran: tuple[Path, dict, str]):
    _, names, printed = ran
    assert "ndcg@10" in printed
    assert names["fitted"].evaluate(ran[0] / "later.parquet", ranking=False).tasks["like"]["auc"] > 0.68
    assert names["fitted"].recommend(user_id=42, k=10).height == 10


def test_save_load_predict_are_bit_equal(ran: tuple[Path, dict, str]):
    folder, names, _ = ran
    test = pl.read_parquet(folder / "test.parquet")
    assert polyrec.load(folder / "artifact").predict(test).equals(names["fitted"].predict(test))


@pytest.mark.slow
def test_its_yaml_does_the_same_through_the_command(ran: tuple[Path, dict, str]):
    folder, names, _ = ran
    text = names["recommender"].to_yaml(folder / "recommender.yaml")
    assert Recommender.from_yaml(text).to_yaml() == text
    command = [sys.executable, "-m", "polyrec", "fit", "recommender.yaml", "--data", "ratings.parquet", "--out", "by-command"]
    subprocess.run([*command, "--quiet"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    test = pl.read_parquet(folder / "test.parquet")
    assert polyrec.load(folder / "by-command").predict(test).equals(names["fitted"].predict(test))


EVERYWHERE = """
import purchase, polyrec

TEXT = "features: [{kind: Numeric, name: age}]\\ntasks: [{kind: Purchase, name: buy, label: bought}]\\n"

def test_in_yaml():
    spec = polyrec.Recommender.from_yaml(TEXT)
    assert isinstance(spec.tasks[0], purchase.Purchase) and "kind: Purchase" in spec.to_yaml()
    assert polyrec.Recommender.from_yaml(spec.to_yaml()) == spec

def test_in_kinds_and_the_schema():
    assert "Purchase" in polyrec.kinds("tasks")
    schema = polyrec.json_schema(polyrec.Recommender)
    assert {"$ref": "#/$defs/tasks.Purchase"} in schema["$defs"]["tasks"]["anyOf"]
    assert "tasks.Purchase" in schema["$defs"]
"""


@pytest.mark.slow
def test_a_new_kind_in_one_file_is_everywhere(tmp_path: Path):
    """The README's task kind, in a file of its own: in YAML, `kinds`, the schema and the contract tests, unlisted."""
    (tmp_path / "purchase.py").write_text(KIND)
    (tmp_path / "test_purchase.py").write_text(EVERYWHERE)
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path, "POLYREC_TEST_KINDS": "purchase"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "pyproject.toml", "-k", "Purchase"]
    command += [str(tmp_path), "tests/contracts"]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    passed = int(re.findall(r"(\d+) passed", done.stdout)[0])
    assert passed >= 10 + EVERYWHERE.count("def test")
