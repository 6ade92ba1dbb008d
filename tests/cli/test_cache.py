"""`polyrec cache`: it lists what runs share, and clears one of it or all."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from polyrec import Gguf, Package, UserError
from polyrec.cli.app import app
from polyrec.language.cache.cache import encode_cached
from polyrec.language.cache.cached import contents, pick
from polyrec.language.cache.counting import counting
from polyrec.language.models.dequantised import dequantised_folder
from polyrec.language.tuning.lower_states import LowerStates
from polyrec.writing.journal import Journal


def run(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["cache", *arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


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
    assert json.loads(run("--json")) == {"folder": str(cache), "removed": False, "encoders": [], "models": [], "files": []}
    for encoder in (Package(), Package(max_length=6, prompt="x"), Gguf(path=str(tiny_gguf))):
        assert encoded(encoder) == 2
    (cache / "vectors.sqlite").touch()
    (dequantised_folder() / ".unpacking.abc").mkdir()

    shown = run()
    assert shown.count("Package(") == 2
    found = json.loads(run("--json"))
    assert [(one["declared"]["kind"], one["vectors"]) for one in found["encoders"]] == [
        ("Package", 2),
        ("Package", 2),
        ("Gguf", 2),
    ]
    assert {one["truncated"] for one in found["encoders"] if one["declared"].get("max_length") == 6} == {1}
    assert all(one["bytes"] == 2 * (4 * one["identity"]["width"] + 4) for one in found["encoders"])
    assert [model["bytes"] > 100_000 for model in found["models"]] == [True]

    prompted = next(one["encoder"] for one in found["encoders"] if one["identity"]["prompt"] == "x")
    assert len(json.loads(run("--clear", "--only", prompted[:6], "--json"))["encoders"]) == 1
    assert encoded(Package()) == 0
    assert encoded(Package(max_length=6, prompt="x")) == 2

    with pytest.raises(UserError, match="found no such name"):
        pick(contents(), "zz")
    with pytest.raises(UserError, match="Write more of it"):
        pick(contents(), "")
    assert "Removed 3 encoders' vectors, 1 unpacked models and 0 files" in run("--clear")
    assert {path.name for path in cache.iterdir()} == {"vectors-3.sqlite"}
    assert encoded(Package()) == 2


def test_a_name_that_is_none_ends_with_one_line_and_code_2():
    done = subprocess.run(
        [sys.executable, "-m", "polyrec", "cache", "--only", "zz"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("polyrec: name 'zz': expected the beginning of the name of one encoder, model or file")


def test_states_and_answers_are_listed_and_answers_stay_until_they_are_named(cache: Path):
    LowerStates("model", 2, half=False).of([torch.tensor([1, 2])], lambda texts: [torch.ones(2, 2) for _ in texts])
    with Journal() as journal:
        journal.keep(b"key", {"tags": ["a"]})
        found = {file["name"]: file for file in json.loads(run("--json"))["files"]}
        assert set(found) == {"states.sqlite", "written.sqlite"}
        assert all(file["bytes"] > 4000 for file in found.values())
    assert "and 1 files" in run("--clear")
    with Journal() as journal:
        assert journal.answers([b"key"]) == {b"key": {"tags": ["a"]}}
    assert [file["name"] for file in json.loads(run("--json"))["files"]] == ["written.sqlite"]
    assert "and 1 files" in run("--clear", "--only", "written")
    assert not list(cache.glob("written*"))
