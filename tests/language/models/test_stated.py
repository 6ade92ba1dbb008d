"""What a model says of itself is obeyed, in either layout of sentence-transformers, in a folder and on a hub."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from polyrec import HuggingFace, Package, UserError
from polyrec.language.models import loaded
from polyrec.language.models.source import Source, at_commit
from polyrec.language.models.stated import Stated, read_stated

LONG = "a film of many words " * 80


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the packaged model whose statements may be changed."""
    return Path(shutil.copytree(Package().folder(), tmp_path / "model"))


def test_of_the_packaged_model():
    assert read_stated(Source(str(Package().folder()))) == Stated("mean", 256, True)


@pytest.mark.parametrize(
    ("config", "pooling"),
    [
        ({"pooling_mode": "cls"}, "cls"),
        ({"pooling_mode": "lasttoken"}, "last"),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
        ({"pooling_mode_lasttoken": True, "pooling_mode_mean_tokens": False, "include_prompt": True}, "last"),
    ],
)
def test_both_layouts_of_a_pooling(folder: Path, config: dict, pooling: str):
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(config))
    stated = HuggingFace(model=str(folder)).encode(["a film"])
    np.testing.assert_allclose(stated, HuggingFace(model=str(folder), pooling=pooling).encode(["a film"]), atol=1e-6)
    assert np.abs(stated - Package().encode(["a film"])).max() > 0.01


@pytest.mark.parametrize("config", [{"pooling_mode": "mean_sqrt_len_tokens"}, {"pooling_mode": ["cls", "mean"]}])
def test_a_pooling_that_is_not_built_here_is_refused_until_another_is_asked_for(folder: Path, config: dict):
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="pooled by mean, cls, last token"):
        HuggingFace(model=str(folder)).encode(["a film"])
    assert np.isfinite(HuggingFace(model=str(folder), pooling="mean").encode(["a film"])).all()


def test_a_further_module_is_refused(folder: Path):
    modules = json.loads((folder / "modules.json").read_text())
    norm = {"idx": 3, "name": "3", "path": "3_LayerNorm", "type": "sentence_transformers.models.LayerNorm"}
    (folder / "modules.json").write_text(json.dumps([*modules, norm]))
    with pytest.raises(UserError, match="found the modules Transformer Pooling Normalize LayerNorm"):
        HuggingFace(model=str(folder)).encode(["a film"])


def forget() -> None:
    """Forget sources and models, as a new process would."""
    for cached in (at_commit, loaded.describe, loaded.load):
        cached.cache_clear()


class TestHub:
    """A hub's cache laid out by hand, read without a network."""

    COMMIT = "0" * 40

    @pytest.fixture
    def repository(self, tmp_path: Path) -> Path:
        repository = tmp_path / "models--films--mini"
        shutil.copytree(Package().folder(), repository / "snapshots" / self.COMMIT)
        (repository / "refs").mkdir()
        (repository / "refs" / "main").write_text(self.COMMIT)
        return repository

    @pytest.fixture
    def _here(self, repository: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        """Read the hub's cache in this process, too."""
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(repository.parent))
        forget()
        yield
        forget()

    @pytest.mark.slow
    def test_a_model_by_name_equals_the_same_model_in_a_folder(self, repository: Path):
        code = (
            "import sys, numpy as np; from polyrec import HuggingFace\n"
            "np.save(sys.argv[1], HuggingFace(model='films/mini').encode([sys.argv[2]]))"
        )
        environment = {**os.environ, "HF_HUB_CACHE": str(repository.parent), "HF_HUB_OFFLINE": "1"}
        command = [sys.executable, "-c", code, str(repository / "vectors.npy"), LONG]
        assert subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout == ""
        np.testing.assert_allclose(np.load(repository / "vectors.npy"), Package().encode([LONG]), atol=1e-6)

    @pytest.mark.usefixtures("_here")
    def test_statements_that_cannot_be_asked_for_are_not_taken_for_absent(self, repository: Path):
        (repository / "snapshots" / self.COMMIT / "modules.json").unlink()
        with pytest.raises(UserError, match="expected a model that transformers loads"):
            HuggingFace(model="films/mini").encode([LONG])
        absent = repository / ".no_exist" / self.COMMIT
        absent.mkdir(parents=True)
        for file in ("modules.json", "sentence_bert_config.json"):
            (absent / file).touch()
        forget()
        assert np.linalg.norm(HuggingFace(model="films/mini").encode([LONG])) != pytest.approx(1, abs=0.1)

    @pytest.mark.usefixtures("_here")
    def test_a_name_stands_for_its_commit_and_another_commit_is_another_model(self, repository: Path):
        other = "1" * 40
        shutil.copytree(repository / "snapshots" / self.COMMIT, repository / "snapshots" / other)
        encoder = HuggingFace(model="films/mini")
        assert encoder.identity()["model"] == f"films/mini@{self.COMMIT}"
        assert encoder.pinned().revision == self.COMMIT
        (repository / "refs" / "main").write_text(other)
        at_commit.cache_clear()
        assert encoder.identity()["model"] == f"films/mini@{other}"
        first = HuggingFace(model="films/mini", revision=self.COMMIT)
        assert first.identity()["model"] == f"films/mini@{self.COMMIT}"
