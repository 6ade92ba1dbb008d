"""`ParquetTable`: a table in Parquet files whose columns are read when they are selected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from polars.exceptions import PolarsError

from polyrec.core.errors import UserError
from polyrec.core.files import read_parquet
from polyrec.data.read.arrow import refuse_repeated
from polyrec.data.read.sources import Source, plain_files, require_alike


@dataclass(frozen=True)
class ParquetTable:
    """Concatenated Parquet files, or some of their rows; only the most recently selected columns are in memory.

    The last selection is kept because a column is usually selected several times in a row: to learn from it, and to encode it
    on both sides of a split. Each column is contiguous in memory, so that sums do not depend on how rows are divided among
    files. Page checksums are verified on every read.
    """

    paths: tuple[Path, ...]
    schema: pl.Schema
    rows: int
    """Number of rows in the files."""
    kept: np.ndarray | None = None
    """Boolean mask of the rows of the files that belong to the table; None for all."""
    recent: dict[tuple[str, ...], pl.DataFrame] = field(default_factory=dict)
    """The most recently selected columns, with all rows of the files."""

    @staticmethod
    def open(paths: Sequence[Path]) -> ParquetTable:
        """Read the metadata of the files; raise `UserError` if one is broken, or if they differ in columns or types."""
        rows, schemas = 0, []
        for path in paths:
            try:
                metadata = pq.read_metadata(path)
                names = metadata.schema.to_arrow_schema().names
                refuse_repeated(names, f"file '{path}'")
                frame = pl.from_arrow(metadata.schema.to_arrow_schema().empty_table())
            except (pa.ArrowException, PolarsError, OSError, EOFError, UnicodeDecodeError) as error:
                found = str(error).splitlines()[0] if str(error) else type(error).__name__
                remedy = "Write or download the file again."
                raise UserError(f"file '{path}'", expected="a complete Parquet file", found=found, remedy=remedy) from error
            assert isinstance(frame, pl.DataFrame)
            schemas.append(frame.schema)
            rows += metadata.num_rows
        for path, schema in zip(paths, schemas, strict=True):
            require_alike(paths[0], schemas[0], path, schema)
        return ParquetTable(tuple(paths), schemas[0], rows)

    @property
    def columns(self) -> list[str]:
        return self.schema.names()

    @property
    def height(self) -> int:
        return self.rows if self.kept is None else int(self.kept.sum())

    def select(self, names: Sequence[str], /) -> pl.DataFrame:
        selection = tuple(names)
        if selection not in self.recent:
            self.recent.clear()
            frames = [read_parquet(path, list(selection)).select(selection) for path in self.paths]
            all_rows = pl.concat(frames).rechunk()
            if all_rows.height != self.rows:
                expected, remedy = f"{self.rows} rows, as when it was opened", "Read it again once it is completely written."
                raise UserError(f"table '{self.paths[0]}'", expected=expected, found=f"{all_rows.height}", remedy=remedy)
            self.recent[selection] = all_rows
            pa.default_memory_pool().release_unused()
        frame = self.recent[selection]
        return frame if self.kept is None else frame.filter(pl.Series(self.kept))

    def filter(self, mask: pl.Series, /) -> ParquetTable:
        kept = mask.to_numpy()
        if self.kept is not None:
            kept = self.kept.copy()
            kept[self.kept] = mask.to_numpy()
        return ParquetTable(self.paths, self.schema, self.rows, kept, self.recent)

    def clear(self) -> pl.DataFrame:
        return pl.DataFrame(schema=self.schema)


def parquet_files(source: Source | None) -> list[Path] | None:
    """Return the files of a source if all of them are Parquet; None for any other source and for a wrong path."""
    paths = None if source is None else plain_files(source)
    return paths if paths and all(path.suffix.lower() == ".parquet" for path in paths) else None
