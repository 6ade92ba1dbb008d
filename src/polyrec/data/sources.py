"""From any table to a polars frame: files, globs, databases, and every frame that speaks Arrow."""

from __future__ import annotations

import glob
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import polars as pl
from polars.exceptions import PolarsError

from polyrec.core.errors import UserError, nearest
from polyrec.core.files import read_parquet
from polyrec.data.query import Query


class ArrowFrame(Protocol):
    """Any frame that hands its columns over as Arrow: pandas, pyarrow, polars, DuckDB relations, Ibis tables."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Return the frame as an Arrow stream (the Arrow PyCapsule interface)."""
        ...


Source = str | Path | Query | pl.DataFrame | pl.LazyFrame | ArrowFrame
"""Where a table comes from."""


def _read_csv(path: Path) -> pl.DataFrame:
    return pl.read_csv(path, try_parse_dates=True)


_READERS: dict[str, Callable[[Path], pl.DataFrame]] = {
    ".parquet": read_parquet,
    ".csv": _read_csv,
    ".arrow": pl.read_ipc,
    ".feather": pl.read_ipc,
    ".ipc": pl.read_ipc,
}


def read(source: Source, *, what: str = "data") -> pl.DataFrame:
    """Read a table.

    A path may name a file, a folder or a glob; several files must have the same columns and types and are put one below the
    other in the order of their names. Checksums of Parquet pages are verified where a file has them.

    Raises `UserError` where there is nothing to read, where files do not fit together, or where the table is empty.
    """
    match source:
        case str() | Path():
            frame = _read_path(str(source), what)
        case Query():
            frame = source.read()
        case pl.LazyFrame():
            frame = source.collect()
        case pl.DataFrame():
            frame = source
        case _:
            frame = _read_arrow(source, what)
    if frame.width == 0 or frame.height == 0:
        found = f"{frame.height} rows and {frame.width} columns"
        raise UserError(what, expected="a table with rows", found=found, remedy="Check where it comes from.")
    return frame


def _read_path(name: str, what: str) -> pl.DataFrame:
    path = Path(name)
    if path.is_dir():
        paths = sorted(child for child in path.iterdir() if child.suffix in _READERS and not child.name.startswith("."))
    elif path.is_file():
        paths = [path]
    else:
        paths = sorted(Path(found) for found in glob.glob(name, recursive=True))
    if not paths:
        raise _missing(path, what)
    frames = [(path, _read_file(path)) for path in paths]
    first_path, first = frames[0]
    for other_path, other in frames[1:]:
        for column in dict.fromkeys((*first.columns, *other.columns)):
            types = [frame.schema.get(column) for frame in (first, other)]
            if types[0] != types[1]:
                here, there = (f"{kind}" if kind is not None else "no such column" for kind in types)
                found = f"{here} in '{first_path}' and {there} in '{other_path}'"
                raise UserError(
                    f"column {column!r}", expected="one type in all files", found=found, remedy="Write the files alike."
                )
    return pl.concat([frame.select(first.columns) for _, frame in frames])


def _read_file(path: Path) -> pl.DataFrame:
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        found = f"the ending {path.suffix!r}"
        raise UserError(
            f"file '{path}'", expected=f"one of {', '.join(_READERS)}", found=found, remedy="Convert or rename the file."
        )
    try:
        return reader(path)
    except (PolarsError, OSError, UnicodeDecodeError) as error:
        found = str(error).splitlines()[0] if str(error) else type(error).__name__
        remedy = "Write or fetch the file again; text must be UTF-8."
        raise UserError(f"file '{path}'", expected=f"a whole {path.suffix} file", found=found, remedy=remedy) from error


def _read_arrow(source: Any, what: str) -> pl.DataFrame:
    expected = "a path, a Query, or a frame of polars, pandas, pyarrow or any library that speaks Arrow"
    if not hasattr(source, "__arrow_c_stream__"):
        remedy = "Turn it into one of these."
        raise UserError(what, expected=expected, found=f"a {type(source).__name__}", remedy=remedy)
    columns = [str(name) for name in getattr(source, "columns", [])]
    twice = next((name for name in columns if columns.count(name) > 1), None)
    if twice is not None:
        raise UserError(
            f"column {twice!r} of the {what}", expected="it once", found="it twice", remedy="Rename one of the two."
        )
    try:
        frame = pl.DataFrame(source)
    except (PolarsError, ValueError, TypeError) as error:
        found = str(error).splitlines()[0]
        remedy = "Give every column values of one type."
        raise UserError(what, expected="columns that fit Arrow", found=found, remedy=remedy) from error
    return frame.drop("__index_level_0__", strict=False)


def _missing(path: Path, what: str) -> UserError:
    siblings = [child.name for child in path.parent.iterdir()] if path.parent.is_dir() else []
    remedy = nearest(path.name, siblings) if siblings else f"The folder '{path.parent}' does not exist either."
    return UserError(
        f"{what} '{path}'", expected="a file, a folder with tables, or a glob", found="nothing there", remedy=remedy
    )
