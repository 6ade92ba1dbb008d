"""What the language models keep between runs: vectors by encoder, and unpacked models."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, NamedTuple

from polyrec.core.cache import cache_folder
from polyrec.core.errors import UserError, nearest
from polyrec.core.spec import kinds
from polyrec.language.dequantised import dequantised_folder
from polyrec.language.vector_store import Kept, clear, kept, store_path

__all__ = ["Contents", "Model", "as_json", "cache_folder", "contents", "pick", "remove", "told"]


class Model(NamedTuple):
    """A GGUF file's model, unpacked."""

    name: str
    folder: Path
    bytes: int


class Contents(NamedTuple):
    """Vectors by encoder, and models."""

    encoders: tuple[Kept, ...]
    models: tuple[Model, ...]


def contents() -> Contents:
    """Return what is kept now."""
    folders = sorted(path for path in dequantised_folder().glob("[!.]*") if path.is_dir())
    return Contents(tuple(kept()), tuple(Model(path.name, path, _size(path)) for path in folders))


def pick(found: Contents, start: str) -> Contents:
    """Return the one encoder or model whose name begins so; raises `UserError` where there is none or several."""
    encoders = tuple(one for one in found.encoders if one.encoder.startswith(start.lower()))
    models = tuple(one for one in found.models if one.name.startswith(start.lower()))
    names = [one.encoder[:16] for one in encoders] + [one.name[:16] for one in models]
    if len(names) != 1:
        every = [one.encoder[:16] for one in found.encoders] + [one.name[:16] for one in found.models]
        expected = "the beginning of one encoder's or model's name"
        remedy = "Write more of it." if names else nearest(start, every)
        raise UserError(f"name {start!r}", expected=expected, found=", ".join(names) or "no such name", remedy=remedy)
    return Contents(encoders, models)


def remove(chosen: Contents, everything: bool = False) -> None:
    """Remove vectors and models; with `everything`, also files of earlier formats and what a crash left."""
    for encoder in chosen.encoders:
        clear(encoder.encoder)
    for model in chosen.models:
        shutil.rmtree(model.folder)
    if everything:
        clear()
        shutil.rmtree(dequantised_folder(), ignore_errors=True)
        for path in cache_folder().glob("vectors*.sqlite*"):
            if not path.name.startswith(store_path().name):
                path.unlink(missing_ok=True)


def as_json(chosen: Contents) -> dict[str, Any]:
    """Return the contents for programs."""
    return {
        "encoders": [one._asdict() for one in chosen.encoders],
        "models": [{"name": one.name, "folder": str(one.folder), "bytes": one.bytes} for one in chosen.models],
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
