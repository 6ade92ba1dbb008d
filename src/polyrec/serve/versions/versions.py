"""A folder of models: versions side by side, and a pointer that selects the served ones.

    FOLDER/versions/NAME/…      one artifact per version
    FOLDER/current.json         the pointer: {"current": NAME, "split": {NAME: share}, "shadow": [NAME]}

A version is written completely under a temporary name and then renamed. The pointer is replaced last, atomically.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, ValidationError, model_validator

from polyrec.artifact.folder import read
from polyrec.core.errors import UserError, describe
from polyrec.core.files import replacing_folder, sha256, write_text
from polyrec.core.names import MANIFEST_FILE, STATE_FOLDER
from polyrec.core.spec import Spec
from polyrec.recommender import Recommender

POINTER, VERSIONS = "current.json", "versions"

KEPT = 3
"""Number of versions kept, including those of the pointer."""


class Pointer(Spec):
    """The versions that answer requests."""

    current: str
    """The version that answers all users outside the shares in `split`."""
    split: dict[str, Annotated[float, Field(gt=0, lt=1)]] = {}
    """Share of users answered by another version, by its name. A user gets the same version at every request."""
    shadow: tuple[str, ...] = ()
    """Versions that receive the same requests; their lists are logged but not shown."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if sum(self.split.values()) >= 1:
            raise ValueError(f"`split` has shares that sum up to {sum(self.split.values()):g}: expected less than 1")
        if self.current in (*self.split, *self.shadow):
            raise ValueError(f"{self.current!r} is the current version: it needs no share and no shadow")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """All versions that receive requests."""
        return tuple(dict.fromkeys((self.current, *self.split, *self.shadow)))


class Models:
    """The versions available to a server: those of a folder, or a single artifact."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        nested = folder / "artifact"
        self.alone = next((path for path in (folder, nested) if (path / STATE_FOLDER / MANIFEST_FILE).is_file()), None)
        if self.alone is None and not (folder / POINTER).is_file():
            remedy = "Give the output of `polyrec fit` or `polyrec publish`."
            raise UserError(f"folder '{folder}'", expected="an artifact or published models", found="neither", remedy=remedy)

    def pointer(self) -> Pointer:
        """Return the current pointer."""
        if self.alone is not None:
            return Pointer(current=version_of(self.alone))
        return read_pointer(self.folder)

    def path(self, version: str) -> Path:
        """Return the path of a version's artifact."""
        return self.alone if self.alone is not None else self.folder / VERSIONS / version


def version_of(artifact: Path) -> str:
    """Return the name of a version: 12 digits of the hash of its manifest, which contains the hash of every file."""
    return sha256(artifact / STATE_FOLDER / MANIFEST_FILE)[:12]


def read_pointer(folder: Path) -> Pointer:
    """Read the pointer of a folder; raises `UserError` if it is invalid or names a version that does not exist."""
    path = folder / POINTER
    remedy = "Publish a version again: polyrec publish ARTIFACT FOLDER."
    try:
        pointer = Pointer.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        found = describe(error) if isinstance(error, ValidationError) else str(error)
        raise UserError(f"pointer '{path}'", expected="a pointer to versions", found=found, remedy=remedy) from error
    for name in pointer.names:
        if Path(name).name != name or not (folder / VERSIONS / name).is_dir():
            raise UserError(f"pointer '{path}'", expected="existing versions", found=repr(name), remedy=remedy)
    return pointer


def publish(artifact: Path, folder: Path, *, split: float | None = None, shadow: bool = False) -> str:
    """Add an artifact to a folder of models and point to it; return the version's name.

    It becomes the current version; with `split` it answers a share of the users, with `shadow` it becomes a shadow version.
    Every file is first checked against the artifact's manifest. The newest three versions and those of the pointer are kept.
    Raises `UserError` if the shares leave no users to the current version.
    """
    read(artifact, Recommender)
    version = version_of(artifact)
    if shadow or split is not None:
        _pointed(folder, version, split, shadow)  # raises before anything is copied
    place = folder / VERSIONS / version
    if not place.is_dir():
        with replacing_folder(place) as temporary:
            shutil.copytree(artifact, temporary, dirs_exist_ok=True)
    read(place, Recommender)
    point(folder, _pointed(folder, version, split, shadow))
    return version


def point(folder: Path, pointer: Pointer) -> None:
    """Write the pointer atomically, and remove versions that are neither new nor pointed to."""
    write_text(folder / POINTER, json.dumps(pointer.model_dump(mode="json"), indent=1) + "\n")
    complete = (path for path in (folder / VERSIONS).iterdir() if path.is_dir() and not path.name.startswith("."))
    versions = sorted(complete, key=lambda path: -path.stat().st_mtime)
    for path in [path for path in versions if path.name not in pointer.names][max(KEPT - len(pointer.names), 0) :]:
        shutil.rmtree(path)


def _pointed(folder: Path, version: str, split: float | None, shadow: bool) -> Pointer:
    if not (folder / POINTER).is_file():
        return Pointer(current=version)
    before = read_pointer(folder)
    others: Mapping[str, float] = {name: share for name, share in before.split.items() if name != version}
    shadows = tuple(name for name in before.shadow if name != version)
    if shadow or split is not None:
        if before.current == version:
            remedy = "Publish another artifact, or neither a share nor a shadow."
            thing, expected = f"version {version!r}", "a version other than the current"
            raise UserError(thing, expected=expected, found="the current", remedy=remedy)
        shares = {**others, version: split} if split is not None else others
        if sum(shares.values()) >= 1:
            found = f"{sum(shares.values()):g}"
            remedy = "Give a smaller share, or publish one of these versions as the current."
            raise UserError("shares of versions", expected="a sum of less than 1", found=found, remedy=remedy)
        return Pointer(current=before.current, split=dict(shares), shadow=(*shadows, version) if shadow else shadows)
    return Pointer(current=version, split=dict(others), shadow=shadows)
