"""The picture of a text report: text-report.png."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from polyrec.compare.text.arms import WHOLE
from polyrec.compare.text.findings import higher_is_better
from polyrec.report.text_plots import ArmsBySlices, TextPanel


def arms_by_slices(document: Mapping[str, Any]) -> ArmsBySlices:
    """Return the plot of every arm's headline metric on every slice, a panel a task."""
    cells = [(arm, cell) for arm, own in document["arms"].items() for cell in own]
    metrics = {cell["task"]: cell["metric"] for _, cell in cells}
    panels = []
    for task, metric in metrics.items():
        values: dict[str, dict[str, list[float | None]]] = {arm: {} for arm in document["arms"]}
        for arm, cell in cells:
            if cell["task"] == task:
                values[arm][cell["slice"]] = cell["values"]
        side = "right" if higher_is_better(metric) else "left"
        panels.append(TextPanel(task, f"{metric} ({side} is better)", values))
    slices = tuple(dict.fromkeys(cell["slice"] for _, cell in cells))
    return ArmsBySlices(panels, tuple(document["arms"]), slices, WHOLE)
