"""The benchmark of encoding answers with what it promises."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "encoding.py"


@pytest.mark.slow
def test_it_tells_texts_per_second_and_ratios():
    command = [sys.executable, str(SCRIPT), "--kinds", "titles", "--count", "32", "--rounds", "1", "--json"]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert list(found["titles"]) == ["sentence-transformers", "polyrec", "polyrec, through a new cache"]
    for own in found["titles"].values():
        assert own["texts per CPU-second"] > 1
        assert own["ratio"] > 0.1
    assert found["titles"]["sentence-transformers"]["ratio"] == 1
