"""`SourceFiles`: the files that a fit reads, where it reads nothing but files, and what their content is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from polyrec.core.errors import UserError
from polyrec.data.read.digests import digest
from polyrec.data.read.parquet_table import parquet_files
from polyrec.data.read.sources import Source, plain_files
from polyrec.data.tables import Tables

_DATA, _VALIDATION = "data", "validation"


@dataclass(frozen=True)
class SourceFiles:
    """The files of each table of a fit, by the table's role; rows are Parquet, side tables may be any files."""

    files: Mapping[str, list[Path]]

    @staticmethod
    def of(data: Source | Tables, validation: Source | None) -> SourceFiles | None:
        """Return the files of some tables; None where one of them is no file, or rows are not Parquet."""
        sides = {"users": data.users, "items": data.items} if isinstance(data, Tables) else {}
        rows = {_DATA: data.interactions if isinstance(data, Tables) else data, _VALIDATION: validation}
        files = {role: parquet_files(source) for role, source in rows.items() if source is not None}
        files |= {role: plain_files(source) for role, source in sides.items() if source is not None}
        found = {role: paths for role, paths in files.items() if paths}
        return SourceFiles(found) if len(found) == len(files) else None

    @property
    def size(self) -> int:
        """Bytes of the rows."""
        return sum(path.stat().st_size for role in (_DATA, _VALIDATION) for path in self.files.get(role, []))

    @cached_property
    def digests(self) -> dict[str, str]:
        """SHA-256 of each table."""
        return {role: digest(paths) for role, paths in self.files.items()}

    @property
    def of_data(self) -> str:
        """SHA-256 of all but the validation table."""
        found = {role: own for role, own in self.digests.items() if role != _VALIDATION}
        return found[_DATA] if len(found) == 1 else hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()

    @property
    def of_validation(self) -> str | None:
        """SHA-256 of the validation table, where there is one."""
        return self.digests.get(_VALIDATION)

    def check_unchanged(self) -> None:
        """Raise `UserError` where a file is no longer what it was when its digest was asked for first."""
        for role, paths in self.files.items():
            if digest(paths) != self.digests[role]:
                thing, remedy = f"{role} '{paths[0]}'", "Try again once it is written."
                raise UserError(
                    thing, expected="files that stay as they are", found="a change while it was read", remedy=remedy
                )
