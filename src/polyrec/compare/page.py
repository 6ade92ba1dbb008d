"""report.html and report.png, from the figures of report.json."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from polyrec.compare.reading import Document, arrow, as_given, figure_of, full_name, headlines, judged, or_nan, row_name
from polyrec.compare.wording import METHOD, gain, interval, number, p_value, signed, summary
from polyrec.report.compare_plots import Improvements, Panel, Point, epoch_curves
from polyrec.report.page import Section, Table, write_page
from polyrec.report.plots import gate_map

PAGE, PICTURE = "report.html", "report.png"


def write_report(out: Path, document: Document) -> None:
    """Write the page and the picture to a folder."""
    picture = improvements(document)
    picture.png(out / PICTURE)
    sections = [
        Section("Does learning together help?", summary(document), picture.svg(), _headlines(document)),
        *_failures(document),
        Section(
            "Single-task models",
            "One model a task: the declaration's network, so wide that outside the tables of ids it is as large as the model "
            f"of all tasks ({as_given(document)['cost']['parameters'] or 0:,} parameters), the same trials and epochs.",
            tables=[_singles(document)],
        ),
        Section(
            "Chosen settings and cost",
            f"The trial that was best on validation with the first seed.{_tuned(document)} CPU-seconds: one fit, mean over "
            "seeds. Memory: the most that a process of one fit held, the libraries included.",
            tables=[_costs(document)],
        ),
        *_gradients(document),
        *_gates(document),
        Section("All metrics", "Mean over seeds, and the standard deviation between them.", tables=_metrics(document)),
        Section("How this was measured", METHOD.format(**document["settings"], **document["data"])),
    ]
    tasks = ", ".join(document["tasks"])
    lead = f"{len(set(map(row_name, judged(document))))} ways to learn {tasks}, over {document['settings']['seeds']} seeds."
    write_page(out / PAGE, "Comparison", lead, sections)


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


def _headlines(document: Document) -> list[Table]:
    columns = ["mean", "difference", "95 % interval", "gain", "p (Holm)", "verdict"]
    tables = []
    for task, metric, told in headlines(document):
        rows = []
        for own in judged(document):
            if figure := figure_of(own, task, metric):
                difference = [signed(figure.get("difference")), interval(figure), gain(figure), p_value(figure)]
                rows.append([row_name(own), number(figure["mean"]), *difference, figure.get("verdict") or ""])
        tables.append(Table([f"{task}: {metric} {arrow(told, metric)}", *columns], rows))
    return tables


def _failures(document: Document) -> list[Section]:
    failed = [[full_name(own), own["error"]] for own in document["contenders"] if own["error"]]
    failed += [
        [f"{full_name(own)}, trial {place + 1}", trial["error"]]
        for own in document["contenders"]
        if not own["error"]
        for place, trial in enumerate(own["trials"])
        if trial["error"]
    ]
    text = "Contenders without figures, and trials that could not be chosen."
    return [Section("What failed", text, tables=[Table(["contender", "error"], failed)])] if failed else []


def _singles(document: Document) -> Table:
    rows = []
    for task, metric, _ in headlines(document):
        for own in document["contenders"]:
            if own["role"] == "single" and own["tasks"] == [task]:
                figure = figure_of(own, task, metric)
                value = [number(figure.get("mean")), number(figure.get("deviation"))]
                rows.append([f"{task} {metric}", *value, f"{own['cost']['parameters'] or 0:,}", own["network"]["kind"]])
    return Table(["task", "mean", "deviation", "parameters", "network"], rows)


def _costs(document: Document) -> Table:
    rows = []
    for own in document["contenders"]:
        if own["error"]:
            continue
        trial, cost, seeds = own["trials"][own["chosen"]], own["cost"], own["seeds"]
        memory = "" if cost["peak_bytes"] is None else f"{cost['peak_bytes'] / 2**20:,.0f} MiB"
        size = f"{cost['parameters']:,}" + (" leaves" if own["role"] == "boosting" else "")
        epochs = float(np.mean([seed["best_epoch"] for seed in seeds]))
        told = [f"{trial['learning_rate']:.2g}", number(trial["utility"]), number(epochs, 1), size]
        rows.append([full_name(own), *told, number(cost["cpu_seconds"], 1), memory])
    return Table(["contender", "step size", "utility", "best epoch", "parameters", "CPU-seconds", "memory"], rows)


def _tuned(document: Document) -> str:
    """Tell the weights that the tuned fixed weights came to."""
    for own in document["contenders"]:
        if own["role"] == "weights" and own["chosen"] is not None:
            weights = own["trials"][own["chosen"]]["weights"]
            return f" Tuned weights: {', '.join(f'{task} {weight:.2f}' for task, weight in weights.items())}."
    return ""


def _gradients(document: Document) -> list[Section]:
    watched = [own for own in judged(document) if own["gradients"]]
    if not watched:
        return []
    tables = []
    for pair in watched[0]["gradients"]["cosine"]:
        rows = []
        for own in watched:
            found = own["gradients"]
            told = [number(_mean(found[kind].get(pair, [])), digits) for kind, digits in (("cosine", 3), ("norm_ratio", 2))]
            rows.append([own["name"], *told])
        tables.append(Table([pair.replace("|", " and "), "cosine", "norm ratio"], rows))
    plot = ""
    if found := as_given(document)["gradients"]:
        curves = [
            (title, {pair: [or_nan(value) for value in values] for pair, values in found[kind].items()}, across)
            for kind, title, across in (
                ("cosine", "cosine between gradients", 0.0),
                ("norm_ratio", "ratio of gradient norms", 1.0),
            )
        ]
        plot = epoch_curves(curves)
    text = (
        "Cosine of the gradients of two tasks (below zero: they pull apart) and how many times longer the first one's is, at "
        "a few batches of every epoch, before balancing. Plot: the declaration as given, by epoch. Table: mean over epochs and "
        "seeds."
    )
    return [Section("Do the tasks agree?", text, plot, tables)]


def _mean(values: list[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if defined else None


def _gates(document: Document) -> list[Section]:
    tasks = list(document["tasks"])
    gated = [own for own in judged(document) if own["gates"]]
    if not gated:
        return []
    rows = []
    for own in gated:
        effective = own["gates"]["effective_experts"]
        experts = max(map(len, own["gates"]["weights"].values()))
        known = (f"{effective[task]:.2f}" if task in effective else "" for task in tasks)
        rows.append([own["name"], f"{experts}", *known, f"{own['gates']['dead_experts']:.1f}"])
    weights = (as_given(document)["gates"] or gated[0]["gates"])["weights"]
    even = len({len(own) for own in weights.values()}) == 1
    plot = gate_map(np.array(list(weights.values())), list(weights)) if even else ""
    text = (
        "Mean weight that each task gives each expert on test rows: exp of its entropy is the effective number of experts; a "
        "dead expert has less than 1 % from every task. Plot: the declaration as given, first seed. Table: mean over seeds."
    )
    header = ["contender", "experts", *(f"effective, {task}" for task in tasks), "dead"]
    return [Section("Gates of the experts", text, plot, [Table(header, rows)])]


def _metrics(document: Document) -> list[Table]:
    columns = ["mean", "deviation", "difference", "95 % interval"]
    tables = []
    for task, told in document["tasks"].items():
        for metric in told["metrics"]:
            rows = []
            for own in document["contenders"]:
                if figure := figure_of(own, task, metric):
                    values = [number(figure["mean"]), number(figure["deviation"])]
                    rows.append([row_name(own), *values, signed(figure.get("difference")), interval(figure)])
            tables.append(Table([f"{task}: {metric} {arrow(told, metric)}", *columns], rows))
    return tables
