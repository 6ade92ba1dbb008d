"""`Facts` and `Frames`: the record of data and training of a fitted recommender, and its tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import polars as pl

from polyrec.declaration.declaration import Roles


@dataclass(frozen=True)
class DataFacts:
    """The tables of a fit."""

    roles: Roles
    clock: str | None
    """Format of times, one of the kinds of `polyrec.data.times`; None without a time column."""
    sha256: str
    """Hash of the training table."""
    validation_sha256: str
    """Hash of the validation rows, or of the split that selects them."""
    rows: int
    """Number of rows of the table, including validation rows."""
    training_rows: int | None = None
    """Number of rows that the weights were trained on."""


@dataclass(frozen=True)
class TrainingFacts:
    """The training of the weights."""

    spec: Mapping[str, Any]
    """The `Training` as JSON values."""
    curves: Sequence[Mapping[str, float]]
    """Per epoch, training losses and validation metrics by `task.metric`, and the utility."""
    best_epoch: int
    """Epoch of the highest validation utility, counted from 1."""
    validation: Mapping[str, float]
    """The entry of `curves` of that epoch."""
    parameters: int
    """Number of parameters of the model."""
    start: str | None = None
    """Hash of the earlier fit that training continued from."""


@dataclass(frozen=True)
class CalibrationFacts:
    """Calibration error of one task on validation rows before and after calibration; `after` is cross-fitted."""

    kind: str
    rows: int
    ece_before: float
    """Expected calibration error."""
    ece_after: float
    reliability_before: Mapping[str, Any]
    """Points of the reliability diagram, as `Reliability.to_dict` returns them."""
    reliability_after: Mapping[str, Any]


@dataclass(frozen=True)
class Facts:
    """The contents of an artifact's manifest, except for the hashes of files."""

    versions: Mapping[str, str]
    data: DataFacts
    observed: Mapping[str, int]
    """Number of observed training labels by task."""
    training: TrainingFacts
    calibration: Mapping[str, CalibrationFacts] = field(default_factory=dict)
    """By task, for calibrated tasks only."""
    features: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Figures about the states of features, by feature, for those that report any."""
    fusion_search: Mapping[str, Any] | None = None
    """Result of the search for the fusion's weights, if there was one."""

    def to_json(self) -> dict[str, Any]:
        """Return the facts as JSON values, in the layout of the manifest."""
        data = asdict(self.data)
        facts = {
            "versions": dict(self.versions),
            "roles": data.pop("roles"),
            "clock": data.pop("clock"),
            "data": data,
            "observed": dict(self.observed),
            "calibration": {name: _calibration_json(facts) for name, facts in self.calibration.items()},
            "features": dict(self.features),
            "training": asdict(self.training),
        }
        return facts if self.fusion_search is None else {**facts, "fusion_search": dict(self.fusion_search)}

    @staticmethod
    def from_json(manifest: Mapping[str, Any]) -> Facts:
        """Read the facts of a manifest; raise `KeyError` or `TypeError` for a missing fact or one of the wrong type."""
        return Facts(
            versions=manifest["versions"],
            data=DataFacts(Roles(**manifest["roles"]), manifest["clock"], **manifest["data"]),
            observed=manifest["observed"],
            training=TrainingFacts(**manifest["training"]),
            calibration={name: _read_calibration(facts) for name, facts in manifest.get("calibration", {}).items()},
            features=manifest.get("features", {}),
            fusion_search=manifest.get("fusion_search"),
        )


@dataclass(frozen=True)
class Frames:
    """The tables of a fitted recommender."""

    columns: pl.DataFrame
    """The columns of the training table with their types; it has no rows."""
    log: pl.DataFrame | None = None
    """Training rows by user and time, with the columns that histories read; None where no user is declared."""
    users: pl.DataFrame | None = None
    """One row per user; None where no user is declared."""
    items: pl.DataFrame | None = None
    """One row per item; None where no item is declared."""

    def by_name(self) -> dict[str, pl.DataFrame]:
        """Return the tables that exist, by name."""
        return {name: frame for name, frame in vars(self).items() if frame is not None}


def _calibration_json(facts: CalibrationFacts) -> dict[str, Any]:
    return {
        "kind": facts.kind,
        "rows": facts.rows,
        "ece": {"before": facts.ece_before, "after": facts.ece_after},
        "reliability": {"before": dict(facts.reliability_before), "after": dict(facts.reliability_after)},
    }


def _read_calibration(facts: Mapping[str, Any]) -> CalibrationFacts:
    ece, reliability = facts["ece"], facts["reliability"]
    return CalibrationFacts(
        facts["kind"], facts["rows"], ece["before"], ece["after"], reliability["before"], reliability["after"]
    )
