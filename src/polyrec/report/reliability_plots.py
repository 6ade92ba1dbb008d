"""Reliability diagrams as SVG text. Shape letters: B bins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from polyrec.evaluate.metrics.reliability import Reliability
from polyrec.report.plots import COLOURS, figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def reliability_panels(task: str, told: Mapping[str, Any]) -> str:
    """Draw a task's reliability before and after calibration, from what `calibrate` tells of it.

    A point is a bin of equal mass at its mean prediction, the bar the 95 % interval of its share, and the dotted line is
    where a calibrated model's points lie. Both panels have the same axes; where an event is rare they end at what was seen,
    not at 1.
    """
    curves = {when: Reliability.from_dict(told["reliability"][when]) for when in ("before", "after")}
    top = min(1.0, 1.05 * max(float(max(c.prediction_B.max(), c.high_B.max())) for c in curves.values()))
    with figure(6.4, 3.3, 2) as (axes, svg):
        for axis, (when, curve), colour in zip(axes, curves.items(), COLOURS[1::-1], strict=True):
            _draw(axis, curve, top, colour)
            axis.set_title(f"{task}, {when}: error {told['ece'][when]:.4f}", fontsize=9)
            axis.set_xlabel("mean prediction")
        axes[0].set_ylabel("share that came true")
    return svg.getvalue()


def _draw(axis: Axes, curve: Reliability, top: float, colour: str) -> None:
    axis.plot([0, top], [0, top], color="#888888", linestyle=":", linewidth=1)
    axis.vlines(curve.prediction_B, curve.low_B, curve.high_B, color=colour, linewidth=1.2)
    axis.plot(curve.prediction_B, curve.label_B, color=colour, marker="o", markersize=4, linewidth=0.8)
    axis.set_xlim(0, top)
    axis.set_ylim(0, top)
    axis.set_aspect("equal")
