"""`Facts` and `Frames`: records about data and training, and the tables that a fitted recommender stores."""

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
    """Format of times: one of the kinds of `polyrec.data.times`; None without a time column."""
    sha256: str
    """Hash of the training table."""
    validation_sha256: str
    """Hash of the validation rows, or of the split that holds them out."""
    rows: int
    """Rows of the table, validation rows included."""
    training_rows: int | None = None
    """Number of rows on which the weights were trained."""


@dataclass(frozen=True)
class TrainingFacts:
    """The training of the weights."""

    spec: Mapping[str, Any]
    """The `Training` as JSON values."""
    curves: Sequence[Mapping[str, float]]
    """For each epoch, training losses and validation metrics by `task.metric`, and the utility."""
    best_epoch: int
    """Epoch of the highest utility on validation, from 1 on."""
    validation: Mapping[str, float]
    """The entry of `curves` of that epoch."""
    parameters: int
    """Number of parameters of the model."""
    start: str | None = None
    """Hash of the earlier fit from which training continued."""


@dataclass(frozen=True)
class CalibrationFacts:
    """Effect of calibration for one task, on validation rows; `after` is cross-fitted."""

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
    """All records in an artifact's manifest except the hashes of its files."""

    versions: Mapping[str, str]
    data: DataFacts
    observed: Mapping[str, int]
    """Number of observed training labels by task."""
    training: TrainingFacts
    calibration: Mapping[str, CalibrationFacts] = field(default_factory=dict)
    """By task, for calibrated tasks."""
    features: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Figures about the states of features, by feature, for those that report any."""
    fusion_search: Mapping[str, Any] | None = None
    """Outcome of the search for the fusion's weights, if there was one."""

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
        """Read the facts of a manifest; raise `KeyError` or `TypeError` if one is missing or of another type."""
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
    """The tables that a fitted recommender stores."""

    columns: pl.DataFrame
    """The columns of the training table with their types, without rows."""
    log: pl.DataFrame | None = None
    """Training rows by user and time, with the columns that histories read; None if no user is declared."""
    users: pl.DataFrame | None = None
    """One row per user; None if no user is declared."""
    items: pl.DataFrame | None = None
    """One row per item; None if no item is declared."""

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
