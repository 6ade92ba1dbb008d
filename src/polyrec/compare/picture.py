"""The picture of a comparison: report.png, and the same on the page."""

from __future__ import annotations

from polyrec.compare.reading import Document, as_given, figure_of, headlines, judged, or_nan, row_name
from polyrec.report.compare_plots import Improvements, Panel, Point


def improvements(document: Document) -> Improvements:
    """Return the plot of every contender's improvement on the headline metric of each task."""
    panels = []
    for task, metric, told in headlines(document):
        sign = 1 if told["metrics"][metric]["higher_is_better"] else -1
        points = []
        for own in judged(document):
            figure = figure_of(own, task, metric)
            if figure.get("difference") is not None:
                low, high = sorted(sign * or_nan(figure[end]) for end in ("low", "high"))
                points.append(Point(row_name(own), sign * figure["difference"], low, high, figure["verdict"]))
        label = f"{metric} against single-task" if sign > 0 else f"{metric} saved against single-task"
        panels.append(Panel(_title(document, task, metric), f"{label}\n(right is better)", points))
    names = {row_name(own): row_name(own) + (" (failed)" if own["error"] else "") for own in judged(document)}
    return Improvements(panels, names, as_given(document)["name"])


def _title(document: Document, task: str, metric: str) -> str:
    """Return the task and what its single-task model reaches."""
    alone = next(own for own in document["contenders"] if own["role"] == "single" and own["tasks"] == [task])
    mean = figure_of(alone, task, metric).get("mean")
    return task if mean is None else f"{task} (single-task {metric} {mean:.3f})"
