"""The store of prepared tables: one folder per stage, named by a hash of its inputs. The least recently used go first."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from polyrec.core.cache import cache_folder
from polyrec.core.errors import UserError
from polyrec.core.files import replacing_folder
from polyrec.core.names import MANIFEST_FILE, PREPARED_VARIABLE
from polyrec.prepare.stage import Stage
from polyrec.prepare.stage_folder import Prepare, read_stage, write_stage

FORMAT = 2
"""Part of every key: incremented when the layout of a folder or the encoding of a feature or task changes."""

LIMIT = 64
"""Maximum total size of all prepared tables in GiB, unless POLYREC_PREPARED_GIB sets another."""

_USED_FILE = "used"
_ABANDONED = 86_400
"""Age in seconds from which an unfinished folder is removed."""


def prepared_folder() -> Path:
    """Return the folder of all prepared tables."""
    return cache_folder() / "prepared"


def limit() -> int:
    """Return the maximum total size of all prepared tables in bytes; 0 if none are kept."""
    setting = os.environ.get(PREPARED_VARIABLE, "")
    try:
        return int(float(setting or LIMIT) * 2**30)
    except ValueError as error:
        expected, remedy = "a size in GiB, or 0 to keep none", f"Set it to a number, or unset it for {LIMIT} GiB."
        raise UserError(
            f"environment variable {PREPARED_VARIABLE}", expected=expected, found=repr(setting), remedy=remedy
        ) from error


def key_of(inputs: Mapping[str, Any]) -> str:
    """Return the key of a stage, a hash of all its inputs."""
    return hashlib.sha256(json.dumps([FORMAT, inputs], sort_keys=True).encode()).hexdigest()


def find_stage(key: str) -> Stage | None:
    """Return a stage that was prepared earlier; None if there is none, or if it is incomplete."""
    folder = prepared_folder() / key
    try:
        stage = read_stage(folder)
    except (OSError, ValueError, KeyError, TypeError, UserError):
        return None
    _mark_used(folder)
    return stage


def make_stage(key: str, prepare: Prepare) -> Stage:
    """Prepare a stage in the store. If another process prepares the same stage meanwhile, either of the two is kept.

    Raises `OSError` if the store cannot be written.
    """
    folder = prepared_folder() / key
    try:
        with replacing_folder(folder) as temporary:
            write_stage(temporary, prepare)
            _mark_used(temporary)
    except OSError:
        if (stage := find_stage(key)) is not None:
            return stage
        raise
    remove_least_used(keep=key)
    stage = find_stage(key)
    if stage is None:
        raise OSError(f"'{folder}' was written but cannot be read")
    return stage


def remove_least_used(keep: str) -> None:
    """Remove the least recently used tables beyond the limit, except `keep`, and abandoned unfinished folders."""
    tables = []
    for folder in prepared_folder().iterdir():
        try:
            if (folder / MANIFEST_FILE).exists() and not folder.name.startswith("."):
                size = sum(path.stat().st_size for path in folder.iterdir())
                tables.append(((folder / _USED_FILE).stat().st_mtime, size, folder))
            elif time.time() - folder.stat().st_mtime > _ABANDONED:
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue
    total = sum(size for _, size, _ in tables)
    for _, size, folder in sorted(tables):
        if total > limit() and folder.name != keep:
            shutil.rmtree(folder, ignore_errors=True)
            total -= size


def _mark_used(folder: Path) -> None:
    try:
        (folder / _USED_FILE).touch()
    except OSError:
        return
