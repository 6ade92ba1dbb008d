"""`ParquetTable`: a table in Parquet files whose columns are read when they are asked for."""

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
    """Files put one below the other, or some of their rows, of which no more than the columns asked for last are in memory.

    Those stay, for a column is mostly asked for several times in a row: to learn from it, and to encode it on both sides of a
    split. Each is one piece of memory, so that sums come out the same however the rows lie in files. Checksums of pages are
    verified wherever they are read.
    """

    paths: tuple[Path, ...]
    schema: pl.Schema
    rows: int
    """How many rows the files have."""
    kept: np.ndarray | None = None
    """Which of them count, as booleans; None for all."""
    recent: dict[tuple[str, ...], pl.DataFrame] = field(default_factory=dict)
    """The columns asked for last, in all rows."""

    @staticmethod
    def open(paths: Sequence[Path]) -> ParquetTable:
        """Read what the files say of themselves; raises `UserError` where one is broken, or they differ in columns or types."""
        rows, schemas = 0, []
        for path in paths:
            try:
                metadata = pq.read_metadata(path)
                names = metadata.schema.to_arrow_schema().names
                refuse_repeated(names, f"file '{path}'")
                frame = pl.from_arrow(metadata.schema.to_arrow_schema().empty_table())
            except (pa.ArrowException, PolarsError, OSError, EOFError, UnicodeDecodeError) as error:
                found = str(error).splitlines()[0] if str(error) else type(error).__name__
                remedy = "Write or fetch the file again."
                raise UserError(f"file '{path}'", expected="a whole Parquet file", found=found, remedy=remedy) from error
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
        asked = tuple(names)
        if asked not in self.recent:
            self.recent.clear()
            frames = [read_parquet(path, list(asked)).select(asked) for path in self.paths]
            whole = pl.concat(frames).rechunk()
            if whole.height != self.rows:
                found, remedy = f"{whole.height} later", "Read it again once it is written."
                raise UserError(f"table '{self.paths[0]}'", expected=f"its {self.rows} rows", found=found, remedy=remedy)
            self.recent[asked] = whole
            pa.default_memory_pool().release_unused()
        frame = self.recent[asked]
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
    """Return the files of a source that is nothing but Parquet files; None for any other, and for a path that is wrong."""
    paths = None if source is None else plain_files(source)
    return paths if paths and all(path.suffix.lower() == ".parquet" for path in paths) else None
