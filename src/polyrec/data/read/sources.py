"""Reads any table into a polars frame: files, globs, databases, and frames of any library that supports Arrow."""

from __future__ import annotations

import glob
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pyarrow as pa
from polars.exceptions import PanicException, PolarsError

from polyrec.core.errors import UserError, nearest
from polyrec.core.files import read_parquet
from polyrec.data.read.arrow import ArrowFrame, from_any, read_ipc, refuse_repeated
from polyrec.data.read.query import Query

Source = str | Path | Query | pl.DataFrame | pl.LazyFrame | ArrowFrame
"""What a table can be read from."""


def _read_csv(path: Path) -> pl.DataFrame:
    """Read a CSV file; types are inferred from all of its rows.

    The header is checked separately: polars silently renames a repeated name and replaces invalid UTF-8 there.
    """
    header = pl.read_csv(path, has_header=False, n_rows=1, infer_schema=False).row(0)
    refuse_repeated([name for name in header if name], f"file '{path}'")
    return pl.read_csv(path, try_parse_dates=True, infer_schema_length=None)


_READERS: dict[str, Callable[[Path], pl.DataFrame]] = {
    ".parquet": read_parquet,
    ".csv": _read_csv,
    ".arrow": read_ipc,
    ".feather": read_ipc,
    ".ipc": read_ipc,
}


def read(source: Source, *, what: str = "data") -> pl.DataFrame:
    """Read a table; `what` names it in errors.

    A path names a file, a folder or a glob. Several files must have the same columns and types; they are concatenated in the
    order of their names. Checksums of Parquet pages are verified if a file has them.

    Raises `UserError` if there is nothing to read, if files do not fit together, or if the table is empty.
    """
    match source:
        case str() | Path():
            frame = _read_path(str(source), what)
        case Query():
            frame = source.read()
        case pl.LazyFrame():
            frame = _collect(source, what)
        case pl.DataFrame():
            frame = source
        case _:
            frame = from_any(source, what)
    if frame.width == 0 or frame.height == 0:
        found = f"{frame.height} rows and {frame.width} columns"
        raise UserError(what, expected="a table with rows", found=found, remedy="Check its source.")
    return frame


def _collect(frame: pl.LazyFrame, what: str) -> pl.DataFrame:
    try:
        return frame.collect()
    except (PolarsError, OSError) as error:
        found = str(error).splitlines()[0]
        remedy = "Fix the query of the lazy frame."
        raise UserError(what, expected="a lazy frame that can be collected", found=found, remedy=remedy) from error


def _read_path(name: str, what: str) -> pl.DataFrame:
    if "://" in name:
        remedy = "Read a database with Query(sql=…, uri=…)."
        raise UserError(what, expected="a path", found=f"a URI with the scheme {name.partition('://')[0]!r}", remedy=remedy)
    try:
        paths = find(name)
    except OSError as error:
        found = error.strerror or type(error).__name__
        raise UserError(f"{what} '{name:.80}'", expected="a path", found=found, remedy="Check the path.") from error
    if not paths:
        raise _missing(Path(name), what)
    frames = [(path, _read_file(path)) for path in paths]
    first_path, first = frames[0]
    for path, frame in frames[1:]:
        require_alike(first_path, first.schema, path, frame.schema)
    return pl.concat([frame.select(first.columns) for _, frame in frames])


def require_alike(first_path: Path, first: pl.Schema, second_path: Path, second: pl.Schema) -> None:
    """Raise `UserError` if two files differ in their columns or in a column's type."""
    for column in dict.fromkeys((*first, *second)):
        types = [schema.get(column) for schema in (first, second)]
        if types[0] != types[1]:
            here, there = (f"{kind}" if kind is not None else "no such column" for kind in types)
            found = f"{here} in '{first_path}' and {there} in '{second_path}'"
            remedy = "Write all files with the same columns and types."
            raise UserError(f"column {column!r}", expected="one type in all files", found=found, remedy=remedy)


def find(name: str) -> list[Path]:
    """Return the files that a path, a folder or a glob names."""
    path = Path(name)
    if path.is_dir():
        return sorted(child for child in path.iterdir() if child.suffix.lower() in _READERS and not child.name.startswith("."))
    if path.is_file():
        return [path]
    return sorted(Path(file) for file in glob.glob(name, recursive=True) if Path(file).is_file())


def _read_file(path: Path) -> pl.DataFrame:
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        expected, found = f"a name that ends in one of {', '.join(_READERS)}", f"the ending {path.suffix!r}"
        raise UserError(f"file '{path}'", expected=expected, found=found, remedy="Convert or rename the file.")
    try:
        return reader(path)
    except (PolarsError, PanicException, pa.ArrowException, OSError, UnicodeDecodeError) as error:
        found = str(error).splitlines()[0] if str(error) else type(error).__name__
        remedy = "Write or download the file again; text must be UTF-8."
        raise UserError(f"file '{path}'", expected=f"a complete {path.suffix} file", found=found, remedy=remedy) from error


def _missing(path: Path, what: str) -> UserError:
    expected = f"a file that ends in {', '.join(_READERS)}, a folder or a glob of such files, or a Query"
    if path.is_dir():
        remedy = "Write tables there, or name another folder."
        return UserError(f"{what} '{path}'", expected=expected, found="a folder without such a file", remedy=remedy)
    siblings = [child.name for child in path.parent.iterdir()] if path.parent.is_dir() else []
    remedy = nearest(path.name, siblings) if siblings else f"The folder '{path.parent}' is empty or does not exist either."
    return UserError(f"{what} '{path}'", expected=expected, found="nothing there", remedy=remedy)


def plain_files(source: Source) -> list[Path] | None:
    """Return the files that a source names, or None if it is not a path."""
    if not isinstance(source, str | Path) or "://" in str(source):
        return None
    try:
        return find(str(source))
    except OSError:
        return None
