"""The cache of language models on disk: vectors by encoder, unpacked models, states of frozen layers and written answers."""

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
    """The unpacked model of a GGUF file."""

    name: str
    folder: Path
    bytes: int


class File(NamedTuple):
    """A file that is kept or removed in one piece."""

    name: str
    what: str
    path: Path
    bytes: int


class Contents(NamedTuple):
    """Contents of the cache: vectors by encoder, models and files."""

    encoders: tuple[Kept, ...]
    models: tuple[Model, ...]
    files: tuple[File, ...] = ()


PAID_FOR = "written.sqlite"
"""File of the answers of chat endpoints, which cost money."""

_FILES = {"states.sqlite": "states of frozen layers", PAID_FOR: "answers of chat endpoints, which were paid for"}
"""Files of the cache that are listed in one piece, with a description."""


def contents() -> Contents:
    """Return the current contents of the cache."""
    folders = sorted(path for path in dequantised_folder().glob("[!.]*") if path.is_dir())
    paths = [path for name in _FILES if (path := cache_folder() / name).is_file()]
    files = tuple(
        File(path.name, _FILES[path.name], path, sum(part.stat().st_size for part in _all_of(path))) for path in paths
    )
    return Contents(tuple(kept()), tuple(Model(path.name, path, _size(path)) for path in folders), files)


def pick(cached: Contents, start: str) -> Contents:
    """Return the one encoder, model or file whose name starts with `start`; raises `UserError` if there is none or several."""
    encoders = tuple(vectors for vectors in cached.encoders if vectors.encoder.startswith(start.lower()))
    models = tuple(model for model in cached.models if model.name.startswith(start.lower()))
    files = tuple(file for file in cached.files if file.name.startswith(start.lower()))
    matches = _names(Contents(encoders, models, files))
    if len(matches) != 1:
        expected = "the beginning of the name of one encoder, model or file"
        remedy = "Write more of it." if matches else nearest(start, _names(cached))
        raise UserError(f"name {start!r}", expected=expected, found=", ".join(matches) or "no such name", remedy=remedy)
    return Contents(encoders, models, files)


def _names(cached: Contents) -> list[str]:
    names = [vectors.encoder for vectors in cached.encoders]
    names += [model.name for model in cached.models] + [file.name for file in cached.files]
    return [name[:16] for name in names]


def remove(chosen: Contents, everything: bool = False) -> Contents:
    """Remove the chosen contents and return what was removed.

    Set `everything` to remove files of earlier formats and leftovers of a crash too. Answers of chat endpoints then stay,
    because they cost money: they are removed only if they are chosen by name.
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
    """Return the contents as JSON values."""
    return {
        "encoders": [vectors._asdict() for vectors in chosen.encoders],
        "models": [{"name": model.name, "folder": str(model.folder), "bytes": model.bytes} for model in chosen.models],
        "files": [{"name": file.name, "what": file.what, "path": str(file.path), "bytes": file.bytes} for file in chosen.files],
    }


def told(vectors: Kept) -> str:
    """Return an encoder's declaration on one line: its kind, the fields that this kind adds, and other fields that are set."""
    kind = kinds("encoders").get(str(vectors.declared["kind"]))
    added = set(kind.__annotations__) if kind else set(vectors.declared)
    defaults = {name: field.default for name, field in kind.model_fields.items() if name not in added} if kind else {}
    values = {name: value for name, value in vectors.declared.items() if name != "kind" and value is not None}
    fields = [f"{name}={value!r}" for name, value in values.items() if name not in defaults or value != defaults[name]]
    return f"{vectors.declared['kind']}({', '.join(fields)})"


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _all_of(path: Path) -> list[Path]:
    """Return an SQLite file and the files that SQLite keeps next to it."""
    return [part for ending in ("", "-wal", "-shm") if (part := path.with_name(path.name + ending)).exists()]
