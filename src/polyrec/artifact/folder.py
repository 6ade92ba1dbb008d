"""The folder that a fitted recommender is saved to: YAML, JSON, Parquet and safetensors, never pickle.

spec.yaml               the declaration, every field written out
weights.safetensors     the model's weights
state/                  states of features and tasks, the log, users and items, as Parquet with page checksums
state/manifest.json     versions, roles, curves, metrics, and the SHA-256 of every other file
card.md                 the model card
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path, PurePosixPath
from typing import Any

import polars as pl
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from polyrec.artifact.earlier_formats import READABLE_FORMATS, with_present_names
from polyrec.artifact.facts import Facts, Frames
from polyrec.artifact.parts import Parts
from polyrec.core.errors import UserError
from polyrec.core.files import read_parquet, replacing_folder, sha256, write_parquet
from polyrec.core.names import CARD_FILE, FORMAT, MANIFEST_FILE, SPEC_FILE, STATE_FOLDER, WEIGHTS_FILE
from polyrec.declaration.declaration import Declaration


def write(folder: Path, parts: Parts) -> None:
    """Write an artifact atomically; an existing artifact in the folder is replaced."""
    if folder.exists() and not (folder / STATE_FOLDER / MANIFEST_FILE).exists() and (folder.is_file() or any(folder.iterdir())):
        remedy = "Choose another folder, or remove this one."
        raise UserError(f"folder '{folder}'", expected="a new folder or an artifact", found="something else", remedy=remedy)
    with replacing_folder(folder) as temporary:
        parts.spec.to_yaml(temporary / SPEC_FILE)
        save_file({name: tensor.contiguous() for name, tensor in parts.weights.items()}, temporary / WEIGHTS_FILE)
        shutil.copymode(temporary / SPEC_FILE, temporary / WEIGHTS_FILE)  # safetensors makes it readable by the owner only
        (temporary / CARD_FILE).write_text(parts.card, encoding="utf-8")
        state = temporary / STATE_FOLDER
        groups = {
            "features": parts.feature_states,
            "tasks": parts.task_states,
            "calibration": parts.calibration_states,
            "fusion": parts.fusion_states,
            ".": parts.frames.by_name(),
        }
        for group, frames in groups.items():
            for name, frame in frames.items():
                write_parquet(state / group / f"{name}.parquet", frame)
        files = sorted(path for path in temporary.rglob("*") if path.is_file())
        hashes = {path.relative_to(temporary).as_posix(): sha256(path) for path in files}
        manifest = {"format": FORMAT, **parts.facts.to_json(), "files": hashes}
        (state / MANIFEST_FILE).write_text(json.dumps(manifest, indent=1, ensure_ascii=False), encoding="utf-8")


def read(folder: Path, declaration: type[Declaration]) -> Parts:
    """Read an artifact, its YAML as a declaration of the given class.

    Raises `UserError` if the folder is no artifact, its format is unknown, its manifest names a file outside the folder, or a
    file is missing or was changed.
    """
    manifest = _manifest(folder)
    files = manifest.pop("files")
    for name, digest in files.items():
        path = _inside(folder, name)
        if not path.is_file():
            raise _broken(folder, f"the file {name!r}", "no such file")
        if sha256(path) != digest:
            raise _broken(folder, f"the file {name!r} as it was written", "another content")
    for name in (SPEC_FILE, WEIGHTS_FILE, CARD_FILE):
        if name not in files:
            raise _broken(folder, f"the file {name!r} in the manifest", "no such entry")
    spec = declaration.from_yaml(folder / SPEC_FILE)
    state: dict[str, dict[str, pl.DataFrame]] = {"features": {}, "tasks": {}, "calibration": {}, "fusion": {}, STATE_FOLDER: {}}
    for name in files:
        place = PurePosixPath(name)
        if place.suffix == ".parquet" and place.parent.name in state:
            state[place.parent.name][place.stem] = read_parquet(_inside(folder, name))
    try:
        weights = load_file(folder / WEIGHTS_FILE)
    except SafetensorError as error:
        raise _broken(folder, "weights in safetensors", str(error)) from error
    card = (folder / CARD_FILE).read_text(encoding="utf-8")
    try:
        facts, frames = Facts.from_json(manifest), Frames(**state[STATE_FOLDER])
    except (KeyError, TypeError) as error:
        raise _broken(folder, "a manifest with the facts of a fit", f"{type(error).__name__}: {error}") from error
    states = (state["features"], state["tasks"], state["calibration"])
    return Parts(spec, *states, frames, with_present_names(weights), facts, card, state["fusion"])


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / STATE_FOLDER / MANIFEST_FILE
    if not path.is_file():
        raise _broken(folder, f"an artifact with {STATE_FOLDER}/{MANIFEST_FILE}", "no such file")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise _broken(folder, "a manifest in JSON", str(error)) from error
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
        raise _broken(folder, "a manifest that lists its files", "none")
    found = manifest.pop("format", None)
    if found not in READABLE_FORMATS:
        remedy = "Load it with the version of polyrec that wrote it, or fit again."
        expected = " or ".join(f"format {number}" for number in READABLE_FORMATS)
        raise UserError(f"artifact '{folder}'", expected=expected, found=f"format {found!r}", remedy=remedy)
    return manifest


def _inside(folder: Path, name: str) -> Path:
    """Return the path of a file in the manifest; refuse one outside the folder, after links are resolved."""
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise _broken(folder, "files inside the folder", f"{name!r}, which leads out of it")
    return path


def _broken(folder: Path, expected: str, found: str) -> UserError:
    remedy = "Save or copy the artifact again; load only what you trust."
    return UserError(f"artifact '{folder}'", expected=expected, found=found, remedy=remedy)
