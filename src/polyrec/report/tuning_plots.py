"""Plots of a hyperparameter search, as SVG text and PNG."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from polyrec.core.files import replacing
from polyrec.report.plots import COLOURS, figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_GREY = "#aaaaaa"


def history(
    objective: str, higher_is_better: bool, points: Sequence[tuple[int, float]], pruned: Sequence[tuple[int, float]]
) -> str:
    """Draw the objective of every trial by its number, the best so far, and pruned trials at their last value."""
    with figure(8.0, 2.8, 1) as (axes, svg):
        axis = axes[0]
        numbers, values = (np.array(column) for column in zip(*points, strict=True))
        best = (np.maximum if higher_is_better else np.minimum).accumulate(values)
        axis.step(numbers, best, where="post", color=COLOURS[1], label="best so far")
        axis.plot(numbers, values, "o", color=COLOURS[0], markersize=4, label="complete")
        if pruned:
            low, high = values.min(), values.max()
            margin = 0.1 * ((high - low) or 1.0)
            shown = [min(max(value, low - margin), high + margin) for _, value in pruned]
            axis.plot([number for number, _ in pruned], shown, "x", color=_GREY, markersize=5, label="pruned")
        axis.set_xlabel("trial")
        axis.set_ylabel(objective)
        axis.locator_params(axis="x", integer=True)
        axis.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return svg.getvalue()


def slices(objective: str, panels: Mapping[str, tuple[Sequence[Any], Sequence[float], int | None]]) -> str:
    """Draw the objective against each setting, one panel per setting, with the best trial marked.

    `panels` has {path: (values of the setting, objective, position of the best trial or None)}. Positive numbers that span more
    than a factor of twenty have a logarithmic axis; words are in order of first occurrence.
    """
    with figure(max(2.6 * len(panels), 3.4), 2.8, len(panels)) as (axes, svg):
        for axis, (path, (settings, values, best)) in zip(axes, panels.items(), strict=True):
            words = list(dict.fromkeys(value for value in settings if isinstance(value, str)))
            places = [words.index(value) if isinstance(value, str) else value for value in settings]
            axis.plot(places, values, "o", color=COLOURS[0], markersize=4, alpha=0.8)
            if best is not None:
                axis.plot(places[best], values[best], "*", color=COLOURS[1], markersize=11)
            if words:
                axis.set_xticks(range(len(words)), words, fontsize=8, rotation=20 if max(map(len, words)) > 8 else 0)
                axis.set_xlim(-0.5, len(words) - 0.5)
            elif min(places) > 0 and max(places) / min(places) > 20:
                axis.set_xscale("log")
            axis.set_title(path, fontsize=9)
            if axis is not axes[0]:
                axis.sharey(axes[0])
        axes[0].set_ylabel(objective)
    return svg.getvalue()


def front_panels(
    names: Sequence[str],
    higher_is_better: Sequence[bool],
    values: Sequence[Sequence[float]],
    on_front: Sequence[bool],
    numbers: Sequence[int] | None,
    best: int,
    declared: int | None,
    png: Path,
    chosen: str = "written to best.yaml",
) -> str:
    """Draw every pair of objectives, with the front coloured and the best trial as a star; return SVG and write a PNG.

    Axes are not reversed; their labels name the better direction. `numbers`, if not None, label the points of the front with
    their trial numbers. `chosen` is the legend entry of the best trial. With two objectives the front is drawn as steps, beyond
    which no trial lies.
    """
    pairs = list(itertools.combinations(range(len(names)), 2))
    points, front = np.array(values), np.array(on_front)
    with figure(4.6 * len(pairs), 3.8, len(pairs)) as (axes, svg):
        for axis, (x, y) in zip(axes, pairs, strict=True):
            axis.plot(points[~front, x], points[~front, y], "o", color=_GREY, markersize=4, label="other trials")
            if len(names) == 2:
                steps = points[front][np.argsort(points[front, x])]
                turn: Literal["pre", "post"] = "pre" if higher_is_better[x] else "post"
                axis.step(steps[:, x], steps[:, y], where=turn, color=COLOURS[0], linewidth=1, alpha=0.6)
            axis.plot(points[front, x], points[front, y], "o", color=COLOURS[0], markersize=6, label="Pareto front")
            for place in np.flatnonzero(front).tolist():
                if numbers is not None:
                    point, shift = (points[place, x], points[place, y]), (7, 3)
                    axis.annotate(str(numbers[place]), point, xytext=shift, textcoords="offset points", fontsize=7)
            if declared is not None:
                axis.plot(*points[declared, [x, y]], "s", color="black", markersize=8, fillstyle="none", label="as declared")
            axis.plot(*points[best, [x, y]], "*", color=COLOURS[1], markersize=15, label=chosen)
            for objective, label in ((x, axis.set_xlabel), (y, axis.set_ylabel)):
                label(f"{names[objective]} ({'higher' if higher_is_better[objective] else 'lower'} is better)")
        axes[-1].legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
        with replacing(png) as temporary:
            cast("Figure", axes[0].figure).savefig(temporary, format="png", dpi=150, metadata={"Software": None})
    return svg.getvalue()
