"""Arrow tables, whatever library or file they come from, as polars frames."""

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
    """Any frame that hands its columns over as Arrow: pandas, pyarrow, polars, DuckDB relations, Ibis tables."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Return the frame as an Arrow stream (the Arrow PyCapsule interface)."""
        ...


def from_any(source: Any, what: str) -> pl.DataFrame:
    """Return any `ArrowFrame` as a polars frame; the index of pandas is dropped and its NaN becomes null."""
    if not hasattr(source, "__arrow_c_stream__"):
        expected = "a path, a Query, or a frame of polars, pandas, pyarrow or any library that speaks Arrow"
        remedy = "Turn it into one of these."
        raise UserError(what, expected=expected, found=f"a {type(source).__name__}", remedy=remedy)
    if hasattr(source, "reset_index"):
        names = [str(name) for name in source.columns]
        refuse_repeated(names, what)
        source = source.reset_index(drop=True).set_axis(names, axis=1)
    try:
        return from_table(pa.RecordBatchReader.from_stream(source).read_all(), what)
    except (pa.ArrowException, PolarsError, TypeError) as error:
        found = "; ".join(str(part) for part in error.args)
        remedy = "Give every column values of one type."
        raise UserError(what, expected="columns that fit Arrow", found=found, remedy=remedy) from error


def from_table(table: pa.Table, what: str) -> pl.DataFrame:
    """Return an Arrow table as a polars frame: extension types as what they are stored in, a database's numeric as floats."""
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
        raise UserError(thing, expected="numeric that a float holds, below 2^53", found="larger", remedy=remedy)
    return floats


def read_ipc(path: Path) -> pl.DataFrame:
    """Read an Arrow file or stream; what its bytes claim is checked, so that a broken file cannot crash the process."""
    with pa.OSFile(str(path)) as file:
        is_file = file.read(6) == b"ARROW1"
        file.seek(0)
        table = (pa.ipc.open_file if is_file else pa.ipc.open_stream)(file).read_all()
    table.validate(full=True)
    return from_table(table, f"file '{path}'")


def refuse_repeated(names: Iterable[str], what: str) -> None:
    """Raise `UserError` where two columns have one name."""
    for name, count in Counter(names).items():
        if count > 1:
            found = f"it {'twice' if count == 2 else f'{count} times'}"
            raise UserError(f"column {name!r} of the {what}", expected="it once", found=found, remedy="Rename the others.")
