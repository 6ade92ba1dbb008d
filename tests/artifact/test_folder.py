"""Saving and loading: bit-equal answers, and refusal of what was changed."""

import json
import shutil
from pathlib import Path

import polars as pl
import pytest

import polyrec
from polyrec import Fitted, UserError


@pytest.fixture
def artifact(fitted: Fitted, tmp_path: Path) -> Path:
    return fitted.save(tmp_path / "artifact")


def edit(artifact: Path, **changes: object) -> None:
    path = artifact / "state" / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_loaded_recommender_answers_bit_for_bit(fitted: Fitted, artifact: Path, split):
    loaded = polyrec.load(artifact)
    assert loaded.spec == fitted.spec
    assert loaded.predict(split[1]).equals(fitted.predict(split[1]))
    assert loaded.recommend(user_id=101).equals(fitted.recommend(user_id=101))
    assert loaded.score(101, [5, 12]).tolist() == fitted.score(101, [5, 12]).tolist()


def test_what_lies_in_the_folder(artifact: Path):
    assert {path.name for path in artifact.iterdir()} == {"spec.yaml", "weights.safetensors", "card.md", "state"}
    assert {path.suffix for path in artifact.rglob("*") if path.is_file()} == {
        ".yaml",
        ".safetensors",
        ".md",
        ".json",
        ".parquet",
    }
    assert "like" in (artifact / "card.md").read_text()


def test_saving_twice_gives_the_same_bytes(fitted: Fitted, artifact: Path, tmp_path: Path):
    again = polyrec.load(artifact).save(tmp_path / "again")
    for path in artifact.rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (again / path.relative_to(artifact)).read_bytes(), path.name


def test_saving_over_an_artifact_replaces_it(fitted: Fitted, artifact: Path):
    (artifact / "card.md").write_text("changed")
    fitted.save(artifact)
    assert polyrec.load(artifact).spec == fitted.spec
    assert [path.name for path in artifact.parent.iterdir()] == ["artifact"]


def test_saving_over_something_else_is_refused(fitted: Fitted, tmp_path: Path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="expected a new folder or an artifact, found something else"):
        fitted.save(tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


@pytest.mark.parametrize(
    "name", ["spec.yaml", "weights.safetensors", "card.md", "state/log.parquet", "state/features/item_id.parquet"]
)
def test_a_changed_or_missing_file_is_refused(artifact: Path, name: str):
    content = bytearray((artifact / name).read_bytes())
    content[len(content) // 2] ^= 1
    (artifact / name).write_bytes(content)
    with pytest.raises(UserError, match=f"the file '{name}' as it was written, found another content"):
        polyrec.load(artifact)
    (artifact / name).unlink()
    with pytest.raises(UserError, match=f"the file '{name}', found no such file"):
        polyrec.load(artifact)


def test_a_path_that_leads_out_is_refused(artifact: Path, tmp_path: Path):
    (tmp_path / "outside.parquet").write_bytes(b"")
    files = json.loads((artifact / "state" / "manifest.json").read_text())["files"]
    for name in ("../outside.parquet", str(tmp_path / "outside.parquet")):
        edit(artifact, files={**files, name: "0"})
        with pytest.raises(UserError, match="files inside the folder, found '.*outside.parquet', which leads out of it"):
            polyrec.load(artifact)


def test_a_link_that_leads_out_is_refused(artifact: Path, tmp_path: Path):
    shutil.move(artifact / "card.md", tmp_path / "card.md")
    (artifact / "card.md").symlink_to(tmp_path / "card.md")
    with pytest.raises(UserError, match="which leads out of it"):
        polyrec.load(artifact)


def test_an_unknown_format_is_refused(artifact: Path):
    edit(artifact, format=99)
    with pytest.raises(UserError, match="expected format 3 or format 4, found format 99"):
        polyrec.load(artifact)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": 2}'])
def test_a_manifest_that_is_none_is_refused(artifact: Path, content: str):
    (artifact / "state" / "manifest.json").write_text(content)
    with pytest.raises(UserError, match=r"artifact '.*'"):
        polyrec.load(artifact)


def test_an_ordinary_folder_is_no_artifact(tmp_path: Path):
    with pytest.raises(UserError, match=r"expected an artifact with state/manifest\.json"):
        polyrec.load(tmp_path)


def test_state_is_plain_parquet_that_anyone_can_read(artifact: Path):
    assert pl.read_parquet(artifact / "state" / "features" / "item_id.parquet").columns == ["value", "count"]
