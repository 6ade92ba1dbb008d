"""Plots as SVG text, drawn with matplotlib. Shape letters: T tasks, E experts."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from polyrec.core.errors import missing_extra

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Colours that people with any colour vision can distinguish (Okabe and Ito, 2008)."""


def learning_curves(curves: Sequence[Mapping[str, float]], tasks: Sequence[str], best_epoch: int) -> str:
    """Draw the training loss and validation skill of each task by epoch, with the best epoch marked."""
    with figure(9.0, 3.2, 2) as (axes, svg):
        epochs = np.arange(1, len(curves) + 1)
        for axis, ending, title in (
            (axes[0], "loss", "training loss (with dropout, as the weights moved)"),
            (axes[1], "skill", "validation skill (share of the best constant's loss saved)"),
        ):
            for task, colour in zip(tasks, _cycle(len(tasks)), strict=True):
                values = [entry.get(f"{task}.{ending}", np.nan) for entry in curves]
                axis.plot(epochs, values, color=colour, label=task, marker="o", markersize=3)
            axis.axvline(best_epoch, color="#888888", linestyle=":", label="best epoch" if ending == "skill" else None)
            axis.set_title(title, fontsize=9)
            axis.set_xlabel("epoch")
            axis.locator_params(axis="x", integer=True)
        axes[1].legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return svg.getvalue()


def metric_points(rows: Sequence[tuple[str, Mapping[str, tuple[float, float, float]]]]) -> str:
    """Draw one panel per metric with a point and an interval for each model.

    `rows` has (title of the metric, {model: (value, low, high)}).
    """
    with figure(3.0 * len(rows), 2.4, len(rows)) as (axes, svg):
        for axis, (title, models) in zip(axes, rows, strict=True):
            for place, ((value, low, high), colour) in enumerate(zip(models.values(), _cycle(len(models)), strict=True)):
                axis.plot([low, high], [place, place], color=colour, linewidth=2, solid_capstyle="butt")
                axis.plot([value], [place], color=colour, marker="o")
                axis.annotate(
                    f"{value:.3f}", (value, place), textcoords="offset points", xytext=(0, 6), ha="center", fontsize=8
                )
                axis.set_yticks(range(len(models)), list(models) if axis is axes[0] else [""] * len(models))
            axis.set_ylim(len(models) - 0.5, -0.7)
            axis.margins(x=0.15)
            axis.set_title(title, fontsize=9)
    return svg.getvalue()


def gate_map(gates_TE: np.ndarray, tasks: Sequence[str]) -> str:
    """Draw the mean weight of each expert by task."""
    with figure(1.2 + 0.9 * gates_TE.shape[1], 0.9 + 0.5 * len(tasks), 1) as (axes, svg):
        axis = axes[0]
        axis.imshow(gates_TE, cmap="Blues", vmin=0, vmax=max(float(gates_TE.max()), 1e-9), aspect="auto")
        axis.set_yticks(range(len(tasks)), list(tasks))
        axis.set_xticks(range(gates_TE.shape[1]), [f"expert {e + 1}" for e in range(gates_TE.shape[1])], fontsize=8)
        for (task, expert), value in np.ndenumerate(gates_TE):
            dark = value > 0.6 * gates_TE.max()
            axis.text(expert, task, f"{value:.2f}", ha="center", va="center", fontsize=8, color="white" if dark else "black")
        axis.spines[:].set_visible(False)
    return svg.getvalue()


@contextmanager
def figure(width: float, height: float, panels: int) -> Iterator[tuple[Sequence[Axes], io.StringIO]]:
    """Yield axes to draw on and the buffer to which the SVG is written on exit; global settings are restored."""
    buffer = io.StringIO()
    with styled(width, height) as drawn:
        yield list(drawn.subplots(1, panels, squeeze=False)[0]), buffer
        buffer.write(to_svg(drawn))


@contextmanager
def styled(width: float, height: float) -> Iterator[Figure]:
    """Yield an empty figure of a size in inches, to be drawn and saved within the context; global settings are restored."""
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError as error:
        raise missing_extra("matplotlib", "report", "a plot") from error
    settings: Any = {
        "svg.fonttype": "none",
        "svg.hashsalt": "polyrec",
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    with rc_context(settings):
        yield Figure(figsize=(width, height), layout="constrained")


def to_svg(drawn: Figure) -> str:
    """Return a figure as an SVG element; equal drawings give equal text."""
    text = io.StringIO()
    drawn.savefig(text, format="svg", metadata={"Date": None}, transparent=True)
    return text.getvalue()[text.getvalue().index("<svg") :]


def _cycle(count: int) -> list[str]:
    return [COLOURS[position % len(COLOURS)] for position in range(count)]
