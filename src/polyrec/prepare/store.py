"""The store of prepared tables: one folder a stage, named by all that it depends on, the least recently used removed first."""

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

FORMAT = 1
"""Part of every key: raised when the layout of a folder changes, or what a feature or task makes of a table."""

LIMIT = 64
"""Size in GiB that all prepared tables together may have, unless POLYREC_PREPARED_GIB says otherwise."""

_USED_FILE = "used"
_ABANDONED = 86_400
"""Seconds after which a folder that was never finished is removed."""


def prepared_folder() -> Path:
    """Return the folder of all prepared tables."""
    return cache_folder() / "prepared"


def limit() -> int:
    """Return how many bytes all prepared tables together may have; 0 where none are to be kept."""
    told = os.environ.get(PREPARED_VARIABLE, "")
    try:
        return int(float(told or LIMIT) * 2**30)
    except ValueError as error:
        expected, remedy = "a size in GiB, 0 for none", f"Set it to a number, or unset it for {LIMIT}."
        raise UserError(
            f"environment variable {PREPARED_VARIABLE}", expected=expected, found=repr(told), remedy=remedy
        ) from error


def key_of(told: Mapping[str, Any]) -> str:
    """Return the key of a stage, from all that it depends on."""
    return hashlib.sha256(json.dumps([FORMAT, told], sort_keys=True).encode()).hexdigest()


def find_stage(key: str) -> Stage | None:
    """Return a stage that was prepared earlier; None where there is none, or none that is whole."""
    folder = prepared_folder() / key
    try:
        stage = read_stage(folder)
    except (OSError, ValueError, KeyError, TypeError, UserError):
        return None
    _mark_used(folder)
    return stage


def make_stage(key: str, prepare: Prepare) -> Stage:
    """Prepare a stage in the store. Where another process has prepared the same meanwhile, either of the two stays.

    Raises `OSError` where the store cannot be written.
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
        raise OSError(f"'{folder}' was written and cannot be read")
    return stage


def remove_least_used(keep: str) -> None:
    """Remove the least recently used tables beyond the limit, all but one that is in use now; and what was never finished."""
    found = []
    for folder in prepared_folder().iterdir():
        try:
            if (folder / MANIFEST_FILE).exists() and not folder.name.startswith("."):
                size = sum(path.stat().st_size for path in folder.iterdir())
                found.append(((folder / _USED_FILE).stat().st_mtime, size, folder))
            elif time.time() - folder.stat().st_mtime > _ABANDONED:
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue
    total = sum(size for _, size, _ in found)
    for _, size, folder in sorted(found):
        if total > limit() and folder.name != keep:
            shutil.rmtree(folder, ignore_errors=True)
            total -= size


def _mark_used(folder: Path) -> None:
    try:
        (folder / _USED_FILE).touch()
    except OSError:
        return
