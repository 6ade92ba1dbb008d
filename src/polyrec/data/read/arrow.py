"""Arrow tables of any library or file, as polars frames."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

import polars as pl
import pyarrow as pa
from polars.exceptions import PolarsError

from polyrec.core.errors import UserError


class ArrowFrame(Protocol):
    """Any frame that exports its columns as Arrow: pandas, pyarrow, polars, DuckDB relations, Ibis tables."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Return the frame as an Arrow stream (the Arrow PyCapsule interface)."""
        ...


def from_any(source: Any, what: str) -> pl.DataFrame:
    """Return any `ArrowFrame` as a polars frame; the index of a pandas frame is dropped and its NaN becomes null."""
    if not hasattr(source, "__arrow_c_stream__"):
        expected = "a path, a Query, or a frame of polars, pandas, pyarrow or another library that supports Arrow"
        remedy = "Convert it to one of these."
        raise UserError(what, expected=expected, found=f"a {type(source).__name__}", remedy=remedy)
    if hasattr(source, "reset_index"):
        names = [str(name) for name in source.columns]
        refuse_repeated(names, what)
        source = source.reset_index(drop=True).set_axis(names, axis=1)
    try:
        return from_table(pa.RecordBatchReader.from_stream(source).read_all(), what)
    except (pa.ArrowException, PolarsError, TypeError) as error:
        found = "; ".join(str(part) for part in error.args)
        remedy = "Use values of one type in every column."
        raise UserError(what, expected="columns that convert to Arrow", found=found, remedy=remedy) from error


def from_table(table: pa.Table, what: str) -> pl.DataFrame:
    """Return an Arrow table as a polars frame; extension types become storage types, a database's numeric becomes float."""
    refuse_repeated(table.schema.names, what)
    schema = table.schema
    for place, field in enumerate(schema):
        if isinstance(field.type, pa.BaseExtensionType):
            table = table.set_column(place, field.name, table.column(place).cast(field.type.storage_type))
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    for field in schema:
        if getattr(field.type, "type_name", "") == "numeric":
            frame = frame.with_columns(_to_float(frame[field.name], what))
    return frame


def _to_float(numeric: pl.Series, what: str) -> pl.Series:
    floats = numeric.cast(pl.Float64)
    if (floats.is_finite() & (floats.abs() >= 2**53)).any():
        thing = f"column {numeric.name!r} of the {what}"
        remedy = "Cast it in the query, to bigint or text."
        expected = "numeric values below 2^53, which a float represents exactly"
        raise UserError(thing, expected=expected, found="larger values", remedy=remedy)
    return floats


def read_ipc(path: Path) -> pl.DataFrame:
    """Read an Arrow file or stream and validate its contents, so that a broken file cannot crash the process."""
    with pa.OSFile(str(path)) as file:
        is_file = file.read(6) == b"ARROW1"
        file.seek(0)
        table = (pa.ipc.open_file if is_file else pa.ipc.open_stream)(file).read_all()
    table.validate(full=True)
    return from_table(table, f"file '{path}'")


def refuse_repeated(names: Iterable[str], what: str) -> None:
    """Raise `UserError` if two columns share a name."""
    for name, count in Counter(names).items():
        if count > 1:
            thing, expected = f"column {name!r} of the {what}", "one column of this name"
            raise UserError(thing, expected=expected, found=f"{count}", remedy="Rename the others.")
