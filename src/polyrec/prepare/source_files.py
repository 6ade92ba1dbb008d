"""`SourceFiles`: the files that a fit reads, if it reads only files, and the digests of their content."""

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
    """The files of each table of a fit, by the table's role; rows are Parquet files, side tables files of any type."""

    files: Mapping[str, list[Path]]

    @staticmethod
    def of(data: Source | Tables, validation: Source | None) -> SourceFiles | None:
        """Return the files of some tables; None if one of them is not a file, or if rows are not Parquet."""
        sides = {"users": data.users, "items": data.items} if isinstance(data, Tables) else {}
        rows = {_DATA: data.interactions if isinstance(data, Tables) else data, _VALIDATION: validation}
        files = {role: parquet_files(source) for role, source in rows.items() if source is not None}
        files |= {role: plain_files(source) for role, source in sides.items() if source is not None}
        known = {role: paths for role, paths in files.items() if paths}
        return SourceFiles(known) if len(known) == len(files) else None

    @property
    def size(self) -> int:
        """Total bytes of the files of rows."""
        return sum(path.stat().st_size for role in (_DATA, _VALIDATION) for path in self.files.get(role, []))

    @cached_property
    def digests(self) -> dict[str, str]:
        """SHA-256 of each table, by its role."""
        return {role: digest(paths) for role, paths in self.files.items()}

    @property
    def of_data(self) -> str:
        """SHA-256 of all but the validation table."""
        parts = {role: sha256 for role, sha256 in self.digests.items() if role != _VALIDATION}
        return parts[_DATA] if len(parts) == 1 else hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    @property
    def of_validation(self) -> str | None:
        """SHA-256 of the validation table; None without one."""
        return self.digests.get(_VALIDATION)

    def check_unchanged(self) -> None:
        """Raise `UserError` if a file has changed since its digest was first computed."""
        for role, paths in self.files.items():
            if digest(paths) != self.digests[role]:
                thing, remedy = f"{role} '{paths[0]}'", "Try again once the files are completely written."
                expected = "files that do not change while they are read"
                raise UserError(thing, expected=expected, found="a change", remedy=remedy)
