"""The README's program runs as written, and its YAML does the same through the commands."""

import contextlib
import io
import os
import re
import subprocess
import sys
from collections.abc import Callable
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
    table[10_000:].write_parquet(folder / "test.parquet")
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
    assert names["fitted"].evaluate(ran[0] / "test.parquet", ranking=False).tasks["like"]["auc"] > 0.68
    assert names["fitted"].recommend(user_id=42, k=10).height == 10


def test_save_load_predict_are_bit_equal(ran: tuple[Path, dict, str]):
    folder, names, _ = ran
    test = pl.read_parquet(folder / "test.parquet")
    assert polyrec.load(folder / "artifact").predict(test).equals(names["fitted"].predict(test))


def test_its_yaml_does_the_same_through_the_command(ran: tuple[Path, dict, str]):
    folder, names, _ = ran
    text = names["recommender"].to_yaml(folder / "recommender.yaml")
    assert Recommender.from_yaml(text).to_yaml() == text
    command = [sys.executable, "-m", "polyrec", "fit", "recommender.yaml", "--data", "ratings.parquet", "--out", "by-command"]
    subprocess.run([*command, "--quiet"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    test = pl.read_parquet(folder / "test.parquet")
    assert polyrec.load(folder / "by-command").predict(test).equals(names["fitted"].predict(test))


def test_a_new_kind_in_one_file_is_everywhere(tmp_path: Path, run_contracts: Callable[..., dict[str, int]]):
    """The README's task kind, in a file of its own: in YAML, `kinds`, the schema and the contract tests, unlisted."""
    (tmp_path / "purchase.py").write_text(KIND)
    code = (
        "import purchase, json, polyrec\n"
        "text = 'features: [{kind: Numeric, name: age}]\\ntasks: [{kind: Purchase, name: buy, label: bought}]\\n'\n"
        "spec = polyrec.Recommender.from_yaml(text)\n"
        "assert isinstance(spec.tasks[0], purchase.Purchase) and 'kind: Purchase' in spec.to_yaml()\n"
        "assert polyrec.Recommender.from_yaml(spec.to_yaml()) == spec\n"
        "assert 'Purchase' in polyrec.kinds('tasks')\n"
        "schema = polyrec.json_schema(polyrec.Recommender)\n"
        "assert {'$ref': '#/$defs/Purchase'} in schema['$defs']['tasks']['anyOf'] and 'Purchase' in schema['$defs']\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    assert run_contracts(tmp_path, ["purchase"], ["Purchase"])["Purchase"] >= 10
