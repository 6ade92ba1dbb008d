"""What language models keep between runs: vectors by encoder, unpacked models, states of frozen layers and written answers."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, NamedTuple

from polyrec.core.cache import cache_folder
from polyrec.core.errors import UserError, nearest
from polyrec.core.spec import kinds
from polyrec.language.cache.vector_store import Kept, clear, kept, store_path
from polyrec.language.models.dequantised import dequantised_folder

__all__ = ["Contents", "Model", "as_json", "cache_folder", "contents", "pick", "remove", "told"]


class Model(NamedTuple):
    """A GGUF file's model, unpacked."""

    name: str
    folder: Path
    bytes: int


class File(NamedTuple):
    """A file that is kept or removed as a whole."""

    name: str
    what: str
    path: Path
    bytes: int


class Contents(NamedTuple):
    """Vectors by encoder, models and files."""

    encoders: tuple[Kept, ...]
    models: tuple[Model, ...]
    files: tuple[File, ...] = ()


PAID_FOR = "written.sqlite"
"""File of the answers of chat endpoints."""

_FILES = {"states.sqlite": "states of frozen layers", PAID_FOR: "answers of chat endpoints, which were paid for"}
"""Files of the cache that are listed as wholes, and what is in them."""


def contents() -> Contents:
    """Return what is kept now."""
    folders = sorted(path for path in dequantised_folder().glob("[!.]*") if path.is_dir())
    paths = [path for name in _FILES if (path := cache_folder() / name).is_file()]
    files = tuple(File(path.name, _FILES[path.name], path, sum(own.stat().st_size for own in _all_of(path))) for path in paths)
    return Contents(tuple(kept()), tuple(Model(path.name, path, _size(path)) for path in folders), files)


def pick(found: Contents, start: str) -> Contents:
    """Return the one encoder, model or file whose name begins so; raises `UserError` where there is none or several."""
    encoders = tuple(one for one in found.encoders if one.encoder.startswith(start.lower()))
    models = tuple(one for one in found.models if one.name.startswith(start.lower()))
    files = tuple(one for one in found.files if one.name.startswith(start.lower()))
    names = _names(Contents(encoders, models, files))
    if len(names) != 1:
        every = _names(found)
        expected = "the beginning of the name of one encoder, model or file"
        remedy = "Write more of it." if names else nearest(start, every)
        raise UserError(f"name {start!r}", expected=expected, found=", ".join(names) or "no such name", remedy=remedy)
    return Contents(encoders, models, files)


def _names(found: Contents) -> list[str]:
    names = [one.encoder for one in found.encoders] + [one.name for one in found.models] + [one.name for one in found.files]
    return [name[:16] for name in names]


def remove(chosen: Contents, everything: bool = False) -> Contents:
    """Remove what was chosen and return what is gone; with `everything`, also files of earlier formats and what a crash left.

    With `everything` answers of chat endpoints stay, for they were paid for: they go when they are chosen by name.
    """
    if everything:
        chosen = chosen._replace(files=tuple(file for file in chosen.files if file.name != PAID_FOR))
    for encoder in chosen.encoders:
        clear(encoder.encoder)
    for model in chosen.models:
        shutil.rmtree(model.folder)
    for file in chosen.files:
        for path in _all_of(file.path):
            path.unlink(missing_ok=True)
    if everything:
        clear()
        shutil.rmtree(dequantised_folder(), ignore_errors=True)
        for path in cache_folder().glob("vectors*.sqlite*"):
            if not path.name.startswith(store_path().name):
                path.unlink(missing_ok=True)
    return chosen


def as_json(chosen: Contents) -> dict[str, Any]:
    """Return the contents for programs."""
    return {
        "encoders": [one._asdict() for one in chosen.encoders],
        "models": [{"name": one.name, "folder": str(one.folder), "bytes": one.bytes} for one in chosen.models],
        "files": [{"name": one.name, "what": one.what, "path": str(one.path), "bytes": one.bytes} for one in chosen.files],
    }


def told(one: Kept) -> str:
    """Return a declaration on one line: its kind, the fields of that kind alone, and of the others those that were set."""
    kind = kinds("encoders").get(str(one.declared["kind"]))
    own = set(kind.__annotations__) if kind else set(one.declared)
    usual = {name: field.default for name, field in kind.model_fields.items() if name not in own} if kind else {}
    told = {name: value for name, value in one.declared.items() if name != "kind" and value is not None}
    fields = [f"{name}={value!r}" for name, value in told.items() if name not in usual or value != usual[name]]
    return f"{one.declared['kind']}({', '.join(fields)})"


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _all_of(path: Path) -> list[Path]:
    """Return an SQLite file and those that SQLite keeps beside it."""
    return [own for ending in ("", "-wal", "-shm") if (own := path.with_name(path.name + ending)).exists()]
