"""The plot of a text report: every arm on every slice of the test rows, one panel per task."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from polyrec.core.files import replacing
from polyrec.report.plots import COLOURS, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MARKERS = "osD^vX"
_SPREAD = 0.62
"""Share of the height of a slice over which its arms are spread."""


@dataclass(frozen=True)
class TextPanel:
    """One task."""

    title: str
    """Title of the panel."""
    label: str
    """Label of the axis."""
    values: Mapping[str, Mapping[str, Sequence[float]]]
    """Values of the seeds by arm and slice; NaN where undefined."""


@dataclass(frozen=True)
class ArmsBySlices:
    """Panels side by side with slices from top to bottom; a point is the mean over seeds, a line the range of the seeds."""

    panels: Sequence[TextPanel]
    """Panel of each task."""
    arms: Sequence[str]
    """Names of the arms."""
    slices: Sequence[str]
    """Names of the slices."""
    declared: str
    """Arm of the unchanged declaration, drawn with filled points."""

    def png(self, path: Path) -> None:
        """Write the plot as PNG, atomically."""
        with self._drawn() as figure, replacing(path) as temporary:
            figure.savefig(temporary, format="png", dpi=150, metadata={"Software": None})

    @contextmanager
    def _drawn(self) -> Iterator[Figure]:
        with styled(1.4 + 3.0 * len(self.panels), 1.5 + (0.14 * len(self.arms) + 0.1) * len(self.slices)) as figure:
            axes = figure.subplots(1, len(self.panels), sharey=True, squeeze=False)[0]
            for axis, panel in zip(axes, self.panels, strict=True):
                self._panel(axis, panel)
            axes[0].set_yticks(range(len(self.slices)), self.slices)
            axes[0].set_ylim(len(self.slices) - 0.5, -0.5)
            handles, labels = axes[0].get_legend_handles_labels()
            figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 3), frameon=False, fontsize=8)
            yield figure

    def _panel(self, axis: Axes, panel: TextPanel) -> None:
        for place in range(0, len(self.slices), 2):
            axis.axhspan(place - 0.5, place + 0.5, color="#f3f3f3", linewidth=0, zorder=0)
        for number, arm in enumerate(self.arms):
            colour, marker = COLOURS[number % len(COLOURS)], _MARKERS[number % len(_MARKERS)]
            shift = _SPREAD * (number / max(len(self.arms) - 1, 1) - 0.5)
            means, places = [], []
            for place, name in enumerate(self.slices):
                defined = [value for value in panel.values[arm].get(name, ()) if math.isfinite(value)]
                if defined:
                    axis.plot([min(defined), max(defined)], [place + shift] * 2, color=colour, linewidth=1)
                    means.append(sum(defined) / len(defined))
                    places.append(place + shift)
            fill: Literal["full", "none"] = "full" if arm == self.declared else "none"
            axis.plot(means, places, marker, color=colour, fillstyle=fill, markersize=5, label=arm)
        axis.set_title(panel.title, fontsize=9)
        axis.set_xlabel(panel.label)
        axis.locator_params(axis="x", nbins=5)
        axis.tick_params(axis="y", length=0)
