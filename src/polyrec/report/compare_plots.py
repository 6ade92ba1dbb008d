"""The plots of a comparison, drawn with matplotlib."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polyrec.core.files import replacing
from polyrec.report.plots import COLOURS, styled, to_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

VERDICTS = {"helps": COLOURS[0], "hurts": COLOURS[1], "unclear": "#777777"}
"""Colours of the verdicts."""

_FAINT = "#f3f3f3"

_DASHES = ("-", "--", ":")


@dataclass(frozen=True)
class Point:
    """One contender in one panel."""

    name: str
    """Name of the contender."""
    value: float
    """Improvement on the single-task model."""
    low: float
    """Lower end of its interval; NaN where undefined."""
    high: float
    """Upper end of its interval; NaN where undefined."""
    verdict: str
    """Key of `VERDICTS`."""


@dataclass(frozen=True)
class Panel:
    """One task."""

    title: str
    """Title of the panel."""
    label: str
    """Label of the axis."""
    points: Sequence[Point]
    """Contenders that have a figure for the task."""


@dataclass(frozen=True)
class Improvements:
    """One panel per task with the contenders as points and intervals, as PNG or SVG."""

    panels: Sequence[Panel]
    """Panel of each task."""
    names: Mapping[str, str]
    """Label of each contender, from top to bottom."""
    declared: str
    """Name of the unchanged declaration, whose label is bold."""

    def png(self, path: Path) -> None:
        """Write the plot as PNG, atomically."""
        with self._drawn() as figure, replacing(path) as temporary:
            figure.savefig(temporary, format="png", dpi=150, metadata={"Software": None})

    def svg(self) -> str:
        """Return the plot as SVG text."""
        with self._drawn() as figure:
            return to_svg(figure)

    @contextmanager
    def _drawn(self) -> Iterator[Figure]:
        longest = max(map(len, self.names.values()), default=0)
        width = 1.2 + 0.075 * longest + 3.0 * len(self.panels)
        with styled(width, 1.3 + 0.27 * len(self.names)) as figure:
            axes = figure.subplots(1, len(self.panels), sharey=True, squeeze=False)[0]
            for axis, panel in zip(axes, self.panels, strict=True):
                self._panel(axis, panel)
            axes[0].set_yticks(range(len(self.names)), list(self.names.values()))
            for name, label in zip(self.names, axes[0].get_yticklabels(), strict=True):
                if name == self.declared:
                    label.set_fontweight("bold")
            axes[0].set_ylim(len(self.names) - 0.5, -0.5)
            figure.legend(
                handles=_legend(),
                loc="outside lower center",
                ncols=3,
                frameon=False,
                fontsize=8,
            )
            yield figure

    def _panel(self, axis: Axes, panel: Panel) -> None:
        for place in range(0, len(self.names), 2):
            axis.axhspan(place - 0.5, place + 0.5, color=_FAINT, linewidth=0, zorder=0)
        axis.axvline(0, color="black", linewidth=0.8, zorder=1)
        for point in panel.points:
            place, colour = list(self.names).index(point.name), VERDICTS[point.verdict]
            if math.isfinite(point.low):
                axis.plot([point.low, point.high], [place, place], color=colour, linewidth=1.8, solid_capstyle="butt", zorder=2)
            if math.isfinite(point.value):
                axis.plot([point.value], [place], color=colour, marker="o", markersize=4.5, linestyle="none", zorder=3)
        axis.set_title(panel.title, fontsize=9, loc="left")
        axis.set_xlabel(panel.label, fontsize=8)
        axis.tick_params(axis="y", length=0)
        axis.tick_params(axis="x", labelsize=8)
        axis.locator_params(axis="x", nbins=4)
        axis.spines["left"].set_visible(False)


def epoch_curves(curves: Sequence[tuple[str, Mapping[str, Sequence[float]], float | None]]) -> str:
    """Draw panels of curves by epoch as SVG.

    Each panel is (title, values by name, height of a horizontal line or None); all panels have the same names.
    """
    height = max(2.9, 0.9 + 0.18 * max(len(lines) for _, lines, _ in curves))
    with styled(3.4 * len(curves) + 2.4, height) as figure:
        axes = figure.subplots(1, len(curves), squeeze=False)[0]
        for axis, (title, lines, across) in zip(axes, curves, strict=True):
            for place, (name, values) in enumerate(lines.items()):
                epochs = range(1, len(values) + 1)
                colour, dash = COLOURS[place % len(COLOURS)], _DASHES[place // len(COLOURS) % len(_DASHES)]
                axis.plot(epochs, values, color=colour, linestyle=dash, label=name, marker="o", markersize=3)
            if across is not None:
                axis.axhline(across, color="#888888", linewidth=0.8, linestyle=":")
            axis.set_title(title, fontsize=9, loc="left")
            axis.set_xlabel("epoch", fontsize=8)
            axis.locator_params(axis="x", integer=True)
        axes[-1].legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
        return to_svg(figure)


def _legend() -> list[Any]:
    from matplotlib.lines import Line2D

    return [Line2D([], [], color=colour, marker="o", markersize=4.5, label=name) for name, colour in VERDICTS.items()]
