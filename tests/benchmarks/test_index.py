"""The benchmark of the index answers with what it promises."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "index.py"


@pytest.mark.slow
def test_it_tells_recall_and_milliseconds_under_every_filter(tmp_path: Path):
    out = tmp_path / "index.json"
    small = ["--rows", "3000", "--queries", "4", "--peers", "0", "--work", str(tmp_path / "work"), "--out", str(out)]
    subprocess.run([sys.executable, str(SCRIPT), *small], capture_output=True, check=True)
    figures = json.loads(out.read_text())
    for kind in ("clustered", "smooth"):
        assert figures[kind]["build_cpu_seconds"] > 0
        assert figures[kind]["megabytes"] >= figures[kind]["megabytes_of_vectors"] > 0.7
        for name in ("none", "10% at random", "10% in a corner"):
            assert figures[kind][name]["recall"] > 0.9
            assert figures[kind][name]["ms"] > 0
