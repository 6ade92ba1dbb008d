"""The benchmark of stores runs, and finds what was acknowledged."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "stores.py"


@pytest.mark.slow
def test_it_measures_every_kind_and_loses_nothing(tmp_path: Path):
    out = tmp_path / "stores.json"
    command = [sys.executable, str(SCRIPT), "--appends", "5", "--kill", "1", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    facts = json.loads(out.read_text())
    assert set(facts["kinds"]) == {"SQLite", "Redis, always", "Redis, everysec", "PostgreSQL", "journal"}
    assert all(own["append"]["median_us"] > 0 for own in facts["kinds"].values())
    assert facts["kill"]["acknowledged"] > 0
    assert facts["kill"]["lost"] == 0
