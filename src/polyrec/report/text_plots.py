"""The plot of a text report: every arm on every slice of the test rows, a panel a task."""

from __future__ import annotations

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
"""Share of a slice's height that its arms take."""


@dataclass(frozen=True)
class TextPanel:
    """One task: its title, its axis and the seeds' values of every arm on every slice, None where there is none."""

    title: str
    label: str
    values: Mapping[str, Mapping[str, Sequence[float | None]]]
    """By arm and slice."""


@dataclass(frozen=True)
class ArmsBySlices:
    """Panels side by side, slices from top to bottom; a point is the mean over seeds, a line goes from least to most."""

    panels: Sequence[TextPanel]
    arms: Sequence[str]
    slices: Sequence[str]
    own: str
    """The arm that is drawn filled: the declaration as it was given."""

    def png(self, path: Path) -> None:
        """Write the plot as PNG, whole or not at all."""
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
                seen = [value for value in panel.values[arm].get(name, ()) if value is not None]
                if seen:
                    axis.plot([min(seen), max(seen)], [place + shift] * 2, color=colour, linewidth=1)
                    means.append(sum(seen) / len(seen))
                    places.append(place + shift)
            fill: Literal["full", "none"] = "full" if arm == self.own else "none"
            axis.plot(means, places, marker, color=colour, fillstyle=fill, markersize=5, label=arm)
        axis.set_title(panel.title, fontsize=9)
        axis.set_xlabel(panel.label)
        axis.locator_params(axis="x", nbins=5)
        axis.tick_params(axis="y", length=0)
