"""The surface of the package, and how fast it is there."""

import subprocess
import sys
from pathlib import Path

import pytest

import polyrec

ROOT = Path(__file__).parents[1]


def test_every_public_name_exists_and_is_documented():
    assert len(set(polyrec.__all__)) == len(polyrec.__all__)
    for name in polyrec.__all__:
        assert getattr(polyrec, name).__doc__, name


def test_every_kind_is_importable_from_the_top():
    for family in polyrec.families():
        for name, kind in polyrec.kinds(family).items():
            if kind.__module__.startswith("polyrec."):
                assert getattr(polyrec, name) is kind


def test_import_is_quick_and_brings_in_nothing_heavy():
    heavy = [
        "transformers",
        "sentence_transformers",
        "fastapi",
        "starlette",
        "uvicorn",
        "sklearn",
        "optuna",
        "lightgbm",
        "pandas",
        "matplotlib",
        "duckdb",
    ]
    code = (
        "import time, torch, polars, pyarrow.parquet, pydantic; start = time.process_time(); import polyrec, sys\n"
        f"print([name for name in {heavy} if name in sys.modules]); print(time.process_time() - start)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()
    assert found[0] == "[]"
    assert float(found[1]) < 2


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.name)
def test_every_example_runs(path: Path):
    done = subprocess.run([sys.executable, "-W", "error", str(path)], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "auc" in done.stdout


def test_the_two_task_example_is_short_and_learns():
    lines = (ROOT / "examples" / "keras_two_tasks.py").read_text().splitlines()
    assert len(lines) < 25
