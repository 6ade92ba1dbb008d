"""The stages of a fit, read from the store of prepared tables, prepared in the store, or prepared in memory."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy
import polars as pl

from polyrec.artifact.facts import DataFacts
from polyrec.artifact.parts import Parts, states_hash
from polyrec.core.errors import UserError
from polyrec.core.frames import frame_hash
from polyrec.core.names import PREPARED_VARIABLE
from polyrec.core.version import __version__
from polyrec.data.read.parquet_table import ParquetTable, parquet_files
from polyrec.data.read.sources import Source, plain_files, read
from polyrec.data.read.wide import WideTable
from polyrec.data.tables import Joined, Tables, join
from polyrec.declaration.declaration import Declaration
from polyrec.declaration.training import Training
from polyrec.prepare.prepare import kept_frames, prepare
from polyrec.prepare.source_files import SourceFiles
from polyrec.prepare.stage import Keep, Stage, in_memory
from polyrec.prepare.store import find_stage, key_of, limit, make_stage, prepared_folder
from polyrec.prepare.table import Table, concat_tables, read_table, split_table

WORTH = 2**25
"""Smallest size of Parquet in bytes that a fit prepares on disk. A smaller table is read and prepared in about a second, so a
copy on disk is not worth its space. A table prepared ahead is used whatever its size."""

SELECTION, ALL_ROWS = "selection", "all rows"
"""The two stages of a fit."""


@dataclass(frozen=True)
class Stages:
    """The two stages of a fit: training rows with held-out rows, and all rows if the fit refits.

    If every table is a file and the rows are Parquet, the key of a stage is a hash of the files' content and of the settings of
    declaration and training that it depends on. A stage prepared earlier is read from the store; a large one is written to it.
    """

    spec: Declaration
    data: Source | Tables
    validation: Source | None
    training: Training
    ahead: bool = False
    """Set to prepare on disk whatever the size."""
    start: Parts | None = None
    """The artifact that training continues from, if any."""

    def selection(self) -> Stage:
        """Return training rows and held-out rows, with the tables that the recommender keeps."""
        return self._find_or_make(SELECTION, self._make_selection)

    def all_rows(self) -> Stage:
        """Return all rows as training rows, including the held-out rows."""
        return self._find_or_make(ALL_ROWS, self._make_all_rows)

    def folder(self) -> Path:
        """Prepare on disk every stage that a fit requests and the store lacks; return the folder of the first stage."""
        assert self.ahead
        if self._files is None:
            rows = self.data.interactions if isinstance(self.data, Tables) else self.data
            if isinstance(rows, str | Path) and not plain_files(rows):
                read(rows)
            remedy = "Write the rows as Parquet; every fit prepares other tables in memory."
            raise UserError("data to prepare ahead", expected="Parquet files", found="another source", remedy=remedy)
        if limit() == 0:
            found, remedy = f"a limit of 0 in {PREPARED_VARIABLE}", "Unset it."
            raise UserError("preparing ahead", expected="room for prepared tables", found=found, remedy=remedy)
        self.selection()
        if self.training.refit:
            self.all_rows()
        return prepared_folder() / self._key(SELECTION)

    def _find_or_make(self, stage: str, make: Callable[[Keep, Keep], Stage]) -> Stage:
        if self._files is None or limit() == 0:
            return make(in_memory, in_memory)
        key = self._key(stage)
        if (prepared := find_stage(key)) is not None:
            return prepared
        if not self._is_worth_it:
            return make(in_memory, in_memory)
        try:
            return make_stage(key, make)
        except OSError as error:
            if self.ahead:
                remedy = "Make room, or move the cache with POLYREC_CACHE."
                found = f"{error}"
                thing = f"prepared tables in '{prepared_folder()}'"
                raise UserError(thing, expected="a folder to write to", found=found, remedy=remedy) from error
            warnings.warn(f"preparing in memory, because the prepared table cannot be written: {error}", stacklevel=2)
            return make(in_memory, in_memory)

    def _make_selection(self, keep: Keep, keep_held: Keep) -> Stage:
        tables = self._tables()
        stage = prepare(self.spec, tables.learn, tables.held, keep, keep_held, self.start)
        frames = kept_frames(self.spec, tables.joined, tables.all_rows)
        hashes = self._hashes(tables)
        data = DataFacts(
            roles=tables.all_rows.roles,
            clock=tables.all_rows.clock,
            sha256=hashes[0],
            validation_sha256=hashes[1],
            rows=tables.all_rows.frame.height,
        )
        if self._files is not None:
            self._files.check_unchanged()
        return replace(stage, frames=frames, data=data)

    def _make_all_rows(self, keep: Keep, keep_held: Keep) -> Stage:
        stage = prepare(self.spec, self._tables().all_rows, None, keep, start=self.start)
        if self._files is not None:
            self._files.check_unchanged()
        return stage

    def _tables(self) -> _Read:
        """Read the tables; tables prepared on disk are read again for each stage, so they do not stay in memory."""
        return self._read(self._open) if self._is_worth_it else self._in_memory

    @cached_property
    def _in_memory(self) -> _Read:
        return self._read(_read_in_one_piece)

    def _read(self, read_wide: Callable[[Source, str], WideTable]) -> _Read:
        spec = self.spec
        joined = join(self.data, spec.key(spec.user), spec.key(spec.item), read_wide)
        table = read_table(spec, joined.wide)
        learn, held = split_table(table, spec, self.data, self.validation, self.training, read_wide)
        return _Read(joined, table if self.validation is None else concat_tables(learn, held), learn, held)

    def _open(self, source: Source, what: str) -> WideTable:
        paths = parquet_files(source)
        table = read(source, what=what) if paths is None else ParquetTable.open(paths)
        if table.height == 0:
            found = f"0 rows and {len(table.columns)} columns"
            raise UserError(what, expected="a table with rows", found=found, remedy="Check the source of the table.")
        return table

    @cached_property
    def _files(self) -> SourceFiles | None:
        return SourceFiles.of(self.data, self.validation)

    @cached_property
    def _is_worth_it(self) -> bool:
        return self._files is not None and (self.ahead or self._files.size >= WORTH)

    def _key(self, stage: str) -> str:
        inputs = {**self._inputs, "stage": stage}
        if stage == SELECTION and self.validation is None:
            inputs["split"] = [self.training.split.model_dump(mode="json"), self.training.seed]
        return key_of(inputs)

    @cached_property
    def _inputs(self) -> dict[str, Any]:
        """All inputs that both stages depend on; widths of features and layers of tasks are excluded."""
        assert self._files is not None
        spec = self.spec
        return {
            "sources": self._files.digests,
            "versions": [__version__, pl.__version__, numpy.__version__],
            "features": [_without(feature.model_dump(mode="json"), "width") for feature in spec.all_features],
            "encoders": [identity for feature in spec.all_features if (identity := feature.identity()) is not None],
            "tasks": [_without(task.model_dump(mode="json"), "tower", "dropout", "inputs") for task in spec.tasks],
            "sides": [[feature.name for feature in side] for side in (spec.user, spec.item)],
            "time": spec.time,
            **({} if self.start is None else {"start": states_hash(self.start)}),
        }

    def _hashes(self, tables: _Read) -> tuple[str, str]:
        """Return the hashes of the table and of the validation rows: of the files if all are files, else of the values."""
        if self._files is None:
            assert isinstance(tables.held.frame, pl.DataFrame)
            return frame_hash(tables.joined.frame), frame_hash(tables.held.frame)
        split = f"{self._files.of_data} {self.training.split.model_dump_json()} {self.training.seed}"
        held = self._files.of_validation or hashlib.sha256(split.encode()).hexdigest()
        return self._files.of_data, held


@dataclass(frozen=True)
class _Read:
    """The tables of a fit, split."""

    joined: Joined
    all_rows: Table
    learn: Table
    held: Table


def _read_in_one_piece(source: Source, what: str) -> pl.DataFrame:
    """Read a table; make one from files contiguous in memory, so that sums do not depend on how rows are split into files."""
    frame = read(source, what=what)
    return frame.rechunk() if isinstance(source, str | Path) else frame


def _without(dump: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in dump.items() if name not in names}
