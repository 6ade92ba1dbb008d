"""Where a model's files lie: a folder, or a repository of a hub at one commit; and what they hold."""

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
    """A folder with a model's files, or a name on a hub with the commit that is read."""

    name: str
    revision: str | None = None

    def find(self, file: str) -> Path | None:
        """Return a file of the model on this machine, fetched where need be; `None` where the model has no such file.

        A file that the hub cannot be asked for is an `OSError`, not an absent one: else a model would be pooled in one way
        with a network and in another without.
        """
        if Path(self.name).is_dir():
            path = Path(self.name) / file
            return path if path.is_file() else None
        import huggingface_hub
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

        try:
            return Path(huggingface_hub.hf_hub_download(self.name, file, revision=self.revision))
        except LocalEntryNotFoundError:
            known = huggingface_hub.try_to_load_from_cache(self.name, file, revision=self.revision)
            if known is huggingface_hub._CACHED_NO_EXIST:
                return None
            raise
        except EntryNotFoundError:
            return None

    def read(self, file: str) -> Any:
        """Return the JSON in a file of the model, or `None` where the model has no such file."""
        path = self.find(file)
        return None if path is None else json.loads(path.read_text(encoding="utf-8"))

    def content(self) -> str:
        """Return what tells this model from every other: a hash of its files, or its name at a commit."""
        folder = Path(self.name)
        return folder_hash(folder) if folder.is_dir() else f"{self.name}@{self.revision}"


@lru_cache(maxsize=8)
def at_commit(name: str, revision: str | None) -> Source:
    """Return the source that a folder or a name on a hub stands for now: a branch or tag is resolved to its commit.

    All files are then read at that commit, and a model that was changed under its name is known for another one.
    """
    if Path(name).is_dir() or re.fullmatch("[0-9a-f]{40}", revision or ""):
        return Source(name, revision)
    try:
        import huggingface_hub
    except ImportError as error:
        raise missing_extra("transformers", "language", "a text encoder") from error
    try:
        found = huggingface_hub.hf_hub_download(name, "config.json", revision=revision)
    except (OSError, ValueError) as error:
        raise not_loaded(name, error) from error
    return Source(name, Path(found).parent.name)


def not_loaded(name: str, error: Exception) -> UserError:
    """Return the error for a model that is not there or not whole."""
    found = str(error).strip().partition("\n")[0] or type(error).__name__
    remedy = "Give a folder with config.json, weights and tokenizer, or a name that the hub can be reached for."
    return UserError(f"text encoder {name!r}", expected="a model that transformers loads", found=found, remedy=remedy)


@lru_cache(maxsize=8)
def folder_hash(folder: Path) -> str:
    """Return a hash of a model's configuration, tokenizer and weights, whatever the folder is called."""
    sink = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.suffix in _READ:
            sink.update(f"{path.relative_to(folder).as_posix()} {sha256(path)}\n".encode())
    return sink.hexdigest()
