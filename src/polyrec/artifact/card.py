"""The model card: data, metrics and limits of a fitted recommender for its readers (Mitchell et al., 2019)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from polyrec.artifact.facts import CalibrationFacts, Facts
from polyrec.declaration.declaration import Declaration


def write_card(spec: Declaration, facts: Facts) -> str:
    """Return the card as Markdown."""
    data, training, versions = facts.data, facts.training, facts.versions
    roles = ", ".join(f"{role} `{column}`" for role, column in vars(data.roles).items() if column)
    lines = [
        "# Model card",
        "",
        f"A {type(spec.network).__name__} with {training.parameters:,} parameters for {len(spec.tasks)} tasks, made by "
        f"Polyrec {versions['polyrec']} (torch {versions['torch']}, polars {versions['polars']}, Python {versions['python']}).",
        "",
        "## Tasks",
        "",
        "| task | kind | label | inputs | observed labels |",
        "|---|---|---|---|---|",
        *(_row(t.name, type(t).__name__, f"`{t.label}`", _inputs(t.inputs), f"{facts.observed[t.name]:,}") for t in spec.tasks),
        "",
        "## Data",
        "",
        f"{data.rows:,} rows, of which {data.training_rows:,} trained the weights; SHA-256 of the table `{data.sha256}`.",
        *([f"Keys: {roles}."] if roles else []),
        *([f"Training continued from an earlier fit, `{training.start[:12]}`."] if training.start else []),
        "",
        "| side | feature | kind | reads |",
        "|---|---|---|---|",
        *(
            _row(side, f.name, type(f).__name__, ", ".join(f"`{column}`" for column in f.columns) or "earlier rows")
            for side, features in (("user", spec.user), ("item", spec.item), ("row", spec.features))
            for f in features
        ),
        "",
        *_features(facts.features),
        "## Validation",
        "",
        f"Epoch {training.best_epoch} of {len(training.curves)} was best. The figures below chose the epoch, so they "
        "flatter the model: report those of `evaluate` on rows never used.",
        "",
        "| metric | value |",
        "|---|---|",
        *(_row(f"`{name}`", f"{value:.4f}") for name, value in training.validation.items()),
        "",
        *_calibration(facts.calibration),
        "## Limits",
        "",
        "Predictions describe the users, items and times of the table above and inherit its gaps: what was never shown has no "
        "label. Users and items not seen in training are predicted from their other features.",
        "",
    ]
    return "\n".join(lines)


def _features(figures: Mapping[str, Mapping[str, Any]]) -> list[str]:
    if not figures:
        return []
    return [
        "## What features learned",
        "",
        "`mean_cosine` of two texts' vectors (near 1: all are alike) and `effective_rank`, the directions that they use; "
        "`truncated`, the share of texts longer than the model reads; of semantic ids, collisions and use of codes.",
        "",
        "| feature | figure | value |",
        "|---|---|---|",
        *(
            _row(name, f"`{figure}`", f"{value:.4g}")
            for name, values in figures.items()
            for figure, value in values.items()
            if isinstance(value, int | float)
        ),
        "",
    ]


def _calibration(facts: Mapping[str, CalibrationFacts]) -> list[str]:
    if not facts:
        return []
    return [
        "## Calibration",
        "",
        "Expected calibration error on the validation rows; `after` each half of them was calibrated by the other half.",
        "",
        "| task | calibrator | rows | before | after |",
        "|---|---|---|---|---|",
        *(
            _row(name, task.kind, f"{task.rows:,}", f"{task.ece_before:.4f}", f"{task.ece_after:.4f}")
            for name, task in facts.items()
        ),
        "",
    ]


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _inputs(inputs: str | tuple[str, ...]) -> str:
    return inputs if isinstance(inputs, str) else ", ".join(inputs)
