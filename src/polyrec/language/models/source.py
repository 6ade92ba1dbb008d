"""Files of a model: a folder, or a repository of the hub at one commit."""

from __future__ import annotations

import hashlib
import json
import re
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from polyrec.core.errors import UserError, missing_extra
from polyrec.core.files import sha256

_READ = (".json", ".safetensors", ".bin", ".txt", ".model", ".gguf")


class Source(NamedTuple):
    """A folder with a model's files, or a name on the hub with a commit."""

    name: str
    revision: str | None = None

    def find(self, file: str) -> Path | None:
        """Return the local path of a file of the model, downloaded if needed; `None` if the model has no such file.

        Raises `OSError` if the hub cannot be reached, instead of treating the file as absent: otherwise the pooling of a model
        would depend on the network.
        """
        if Path(self.name).is_dir():
            path = Path(self.name) / file
            return path if path.is_file() else None
        import huggingface_hub
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

        try:
            return Path(huggingface_hub.hf_hub_download(self.name, file, revision=self.revision))
        except LocalEntryNotFoundError:
            cached = huggingface_hub.try_to_load_from_cache(self.name, file, revision=self.revision)
            if cached is huggingface_hub._CACHED_NO_EXIST:
                return None
            raise
        except EntryNotFoundError:
            return None

    def read(self, file: str) -> Any:
        """Return the JSON of a file of the model, or `None` if the model has no such file."""
        path = self.find(file)
        return None if path is None else json.loads(path.read_text(encoding="utf-8"))

    def content(self) -> str:
        """Return an identifier of this model's content: a hash of its files, or its name at a commit."""
        folder = Path(self.name)
        return folder_hash(folder) if folder.is_dir() else f"{self.name}@{self.revision}"


@lru_cache(maxsize=8)
def at_commit(name: str, revision: str | None) -> Source:
    """Return the current source of a folder or of a name on the hub; a branch or tag is resolved to its commit.

    All files are then read at this commit, and a change of the model gives another source.
    """
    if Path(name).is_dir() or re.fullmatch("[0-9a-f]{40}", revision or ""):
        return Source(name, revision)
    try:
        import huggingface_hub
    except ImportError as error:
        raise missing_extra("transformers", "language", "a text encoder") from error
    try:
        config = huggingface_hub.hf_hub_download(name, "config.json", revision=revision)
    except (OSError, ValueError) as error:
        raise not_loaded(name, error) from error
    return Source(name, Path(config).parent.name)


def not_loaded(name: str, error: Exception) -> UserError:
    """Return the error for a model that is absent or incomplete."""
    found = str(error).strip().partition("\n")[0] or type(error).__name__
    remedy = "Name a folder with config.json, weights and tokenizer, or a model on the hub, which must be reachable."
    return UserError(f"text encoder {name!r}", expected="a model that transformers loads", found=found, remedy=remedy)


@lru_cache(maxsize=8)
def folder_hash(folder: Path) -> str:
    """Return a hash of a model's configuration, tokenizer and weights, which does not depend on the folder's name."""
    sink = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.suffix in _READ:
            sink.update(f"{path.relative_to(folder).as_posix()} {sha256(path)}\n".encode())
    return sink.hexdigest()
