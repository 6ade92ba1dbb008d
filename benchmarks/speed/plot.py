"""The figures as one plot: a panel of bars per workload, and the cost curves below."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from speed.table import digits

COLOURS = {
    "polyrec": "#1b6ca8",
    "polyrec-steady": "#66a3d2",
    "polyrec-compiled": "#0f4c75",
    "polyrec-bfloat16": "#9cc4e4",
    "bare": "#444444",
    "bare-dense": "#999999",
}
PEER = "#d9a05b"
CURVES = ("rows", "vocabulary", "tasks", "experts", "threads")


def bars(axes: Axes, name: str, told: Mapping[str, Any]) -> None:
    """Draw a bar with its range per arm and variant, and the roofline."""
    unit = told["unit"]
    lines = [
        (arm, variant, own[unit]) for arm, figures in told["arms"].items() for variant, own in figures.items() if unit in own
    ]
    several = len({variant for _, variant, _ in lines}) > 1
    lines.sort(key=lambda line: (line[1], line[2]["median"] if "ms" in unit else -line[2]["median"]))
    for place, (arm, _, value) in enumerate(lines):
        errors = [[value["median"] - value["lowest"]], [value["highest"] - value["median"]]]
        axes.barh(place, value["median"], xerr=errors, color=COLOURS.get(arm, PEER), ecolor="black", capsize=2)
        label = f" {value['median']:,.{digits(unit)}f}"
        axes.text(value["highest"], place, label, va="center", fontsize=7)
    axes.set_yticks(range(len(lines)), [f"{arm}, {variant}" if several else arm for arm, variant, _ in lines], fontsize=7)
    axes.invert_yaxis()
    axes.margins(x=0.2)
    if unit == "auc":
        axes.set_xlim(left=0.6)
    if "roofline" in told:
        limit = told["roofline"]["samples_per_cpu_second"]
        axes.axvline(limit, color="#b03030", linestyle="--", linewidth=1)
        axes.annotate(
            "roofline", (limit, 1), xycoords=("data", "axes fraction"), ha="right", va="bottom", fontsize=7, color="#b03030"
        )
    if unit != "auc":
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.tick_params(axis="x", labelsize=7)
    axes.set_xlabel(unit, fontsize=8)
    axes.set_title(f"{name}: {told['title']}", fontsize=9, loc="left", pad=12)


def curve(axes: Axes, memory: Axes, name: str, points: list[Mapping[str, Any]]) -> None:
    """Draw samples per CPU-second, and below it peak memory, against one growing size."""
    for arm in dict.fromkeys(arm for point in points for arm in point["arms"]):
        own = [(point["at"], point["arms"][arm]) for point in points if arm in point["arms"]]
        at = [place for place, _ in own]
        colour = COLOURS.get(arm, PEER)
        axes.plot(at, [figures["samples per CPU-second"] for _, figures in own], "o-", markersize=3, color=colour, label=arm)
        memory.plot(at, [figures["peak_mb"] for _, figures in own], "o-", markersize=3, color=colour)
    places = [point["at"] for point in points]
    for own_axes in (axes, memory):
        own_axes.set_xscale("log")
        own_axes.set_xticks(places, [EngFormatter(sep="")(place) for place in places])
        own_axes.minorticks_off()
        own_axes.set_ylim(bottom=0)
        own_axes.yaxis.set_major_formatter(EngFormatter(sep=""))
        own_axes.tick_params(labelsize=7)
    axes.set_title(f"by {name}", fontsize=9, loc="left")
    axes.legend(frameon=False, fontsize=6)


def plot(document: Mapping[str, Any], path: Path) -> None:
    """Draw the figures of the document."""
    workloads = [*document["workloads"].items()]
    points = document.get("curves", {}).get("points", [])
    grown = [name for name in CURVES if any(point["curve"] == name for point in points)]
    pairs = [workloads[at : at + 2] for at in range(0, len(workloads), 2)]
    heights = [1 + 0.2 * max(sum(map(len, told["arms"].values())) for _, told in pair) for pair in pairs] + [4.2] * bool(grown)
    if not heights:
        return
    figure = Figure(figsize=(12, sum(heights)), layout="constrained")
    FigureCanvasAgg(figure)
    parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    for part, pair in zip(parts, pairs, strict=False):
        for axes, (name, told) in zip(part.subplots(1, len(pair), squeeze=False)[0], pair, strict=True):
            bars(axes, name, told)
    if grown:
        panels = parts[-1].subplots(2, len(grown), sharex="col", squeeze=False)
        for above, below, name in zip(*panels, grown, strict=True):
            curve(above, below, name, [point for point in points if point["curve"] == name])
        panels[0, 0].set_ylabel("samples per CPU-second", fontsize=8)
        panels[1, 0].set_ylabel("peak MB", fontsize=8)
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)
