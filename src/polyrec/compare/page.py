"""report.html and report.png, from a `Comparison`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from polyrec.compare.comparison import Comparison
from polyrec.compare.contender_result import ContenderResult
from polyrec.compare.wording import METHOD, gain, interval, number, p_value, signed
from polyrec.report.compare_plots import Improvements, Panel, Point, epoch_curves
from polyrec.report.page import Section, Table, write_page
from polyrec.report.plots import gate_map

PAGE, PICTURE = "report.html", "report.png"


def write_report(out: Path, comparison: Comparison) -> None:
    """Write the page and the picture to a folder."""
    picture = improvements(comparison)
    picture.png(out / PICTURE)
    sections = [
        Section("Does learning together help?", comparison.summary(), picture.svg(), _headlines(comparison)),
        *_failures(comparison),
        Section(
            "Single-task models",
            "One model per task with the declaration's network. Its width is chosen such that outside embedding tables the "
            f"model is as large as that of all tasks ({comparison.as_given.cost.parameters or 0:,} parameters). Trials and "
            "epochs are the same.",
            tables=[_singles(comparison)],
        ),
        Section(
            "Chosen settings and cost",
            f"The trial with the best utility on validation, with the first seed.{_tuned(comparison)} CPU-seconds: one fit, "
            "mean over seeds. Memory: peak of the process of one fit, libraries included.",
            tables=[_costs(comparison)],
        ),
        *_gradients(comparison),
        *_gates(comparison),
        Section("All metrics", "Mean and standard deviation over seeds.", tables=_metrics(comparison)),
        Section("How this was measured", METHOD.format(settings=comparison.settings, data=comparison.data)),
    ]
    names = {contender.row_name for contender in comparison.judged}
    lead = f"{len(names)} ways to learn {', '.join(comparison.tasks)}, over {comparison.settings.seeds} seeds."
    write_page(out / PAGE, "Comparison", lead, sections)


def improvements(comparison: Comparison) -> Improvements:
    """Return the plot of every contender's improvement on the headline metric of each task."""
    panels = []
    for name, metric, task in comparison.headlines():
        sign = 1 if task.higher_is_better[metric] else -1
        points = []
        for contender in comparison.judged:
            figure = contender.figure(name, metric)
            if figure is not None and figure.difference is not None and math.isfinite(figure.difference.mean):
                low, high = sorted(sign * end for end in (figure.difference.low, figure.difference.high))
                points.append(Point(contender.row_name, sign * figure.difference.mean, low, high, figure.verdict or "unclear"))
        label = f"{metric} against single-task" if sign > 0 else f"{metric} saved against single-task"
        panels.append(Panel(_title(comparison, name, metric), f"{label}\n(right is better)", points))
    names = {entry.row_name: entry.row_name + (" (failed)" if entry.error else "") for entry in comparison.judged}
    return Improvements(panels, names, comparison.as_given.name)


def _title(comparison: Comparison, task: str, metric: str) -> str:
    """Return the task with the value of its single-task model."""
    (figure,) = (contender.figure(task, metric) for contender in _of_task(comparison, task))
    return task if figure is None or not math.isfinite(figure.mean) else f"{task} (single-task {metric} {figure.mean:.3f})"


def _of_task(comparison: Comparison, task: str) -> list[ContenderResult]:
    """Return the single-task model of a task, as a list of one."""
    return [contender for contender in comparison.contenders if contender.role == "single" and list(contender.tasks) == [task]]


def _headlines(comparison: Comparison) -> list[Table]:
    columns = ["mean", "difference", "95 % interval", "gain", "p (Holm)", "verdict"]
    tables = []
    for name, metric, task in comparison.headlines():
        rows = []
        for contender in comparison.judged:
            if figure := contender.figure(name, metric):
                difference = [signed(figure), interval(figure), gain(figure), p_value(figure)]
                rows.append([contender.row_name, number(figure.mean), *difference, figure.verdict or ""])
        tables.append(Table([f"{name}: {metric} {task.arrow(metric)}", *columns], rows))
    return tables


def _failures(comparison: Comparison) -> list[Section]:
    failed = [[contender.full_name, contender.error] for contender in comparison.contenders if contender.error]
    failed += [
        [f"{contender.full_name}, trial {place + 1}", trial.error]
        for contender in comparison.contenders
        if not contender.error
        for place, trial in enumerate(contender.trials)
        if trial.error
    ]
    text = "Contenders without figures, and failed trials."
    return [Section("What failed", text, tables=[Table(["contender", "error"], failed)])] if failed else []


def _singles(comparison: Comparison) -> Table:
    rows = []
    for task, metric, _ in comparison.headlines():
        for contender in _of_task(comparison, task):
            figure = contender.figure(task, metric)
            values = ["", ""] if figure is None else [number(figure.mean), number(figure.deviation)]
            assert contender.network is not None
            rows.append([f"{task} {metric}", *values, f"{contender.cost.parameters or 0:,}", contender.network["kind"]])
    return Table(["task", "mean", "deviation", "parameters", "network"], rows)


def _costs(comparison: Comparison) -> Table:
    rows = []
    for contender in comparison.contenders:
        trial, cost = contender.chosen_trial, contender.cost
        if contender.error or trial is None:
            continue
        memory = "" if cost.peak_bytes is None else f"{cost.peak_bytes / 2**20:,.0f} MiB"
        size = f"{cost.parameters:,}" + (" leaves" if contender.role == "boosting" else "")
        epochs = float(np.mean([seed.best_epoch for seed in contender.seeds]))
        cells = [f"{trial.learning_rate:.2g}", number(trial.utility), number(epochs, 1), size]
        rows.append([contender.full_name, *cells, number(cost.cpu_seconds, 1), memory])
    return Table(["contender", "learning rate", "utility", "best epoch", "parameters", "CPU-seconds", "memory"], rows)


def _tuned(comparison: Comparison) -> str:
    """Return a sentence with the chosen weights of the tuned fixed weights."""
    for contender in comparison.contenders:
        trial = contender.chosen_trial
        if contender.role == "weights" and trial is not None:
            assert trial.weights is not None
            return f" Tuned weights: {', '.join(f'{task} {weight:.2f}' for task, weight in trial.weights.items())}."
    return ""


def _gradients(comparison: Comparison) -> list[Section]:
    probed = [(contender.name, contender.gradients) for contender in comparison.judged if contender.gradients is not None]
    if not probed:
        return []
    tables = []
    for pair in probed[0][1].cosine:
        rows = []
        for name, gradients in probed:
            cosine, ratio = _mean(gradients.cosine.get(pair, [])), _mean(gradients.norm_ratio.get(pair, []))
            rows.append([name, number(cosine, 3), number(ratio, 2)])
        tables.append(Table([pair.replace("|", " and "), "cosine", "norm ratio"], rows))
    plot = ""
    if given := comparison.as_given.gradients:
        plot = epoch_curves(
            [("cosine between gradients", given.cosine, 0.0), ("ratio of gradient norms", given.norm_ratio, 1.0)]
        )
    text = (
        "Cosine of the gradients of two tasks (negative: they conflict) and norm of the first divided by that of the second, "
        "at a few batches of every epoch, before balancing. Plot: the declaration as given, by epoch. Table: mean over epochs "
        "and seeds."
    )
    return [Section("Do the tasks agree?", text, plot, tables)]


def _mean(values: Sequence[float]) -> float | None:
    defined = [value for value in values if math.isfinite(value)]
    return float(np.mean(defined)) if defined else None


def _gates(comparison: Comparison) -> list[Section]:
    tasks = list(comparison.tasks)
    gated = [(contender.name, contender.gates) for contender in comparison.judged if contender.gates is not None]
    if not gated:
        return []
    rows = []
    for name, gates in gated:
        experts = max(map(len, gates.weights.values()))
        effective = (f"{gates.effective_experts[task]:.2f}" if task in gates.effective_experts else "" for task in tasks)
        rows.append([name, f"{experts}", *effective, f"{gates.dead_experts:.1f}"])
    weights = (comparison.as_given.gates or gated[0][1]).weights
    even = len({len(weights_E) for weights_E in weights.values()}) == 1
    plot = gate_map(np.array(list(weights.values())), list(weights)) if even else ""
    text = (
        "Mean weight of each expert by task on test rows. The effective number of experts is exp of the weights' entropy. "
        "A dead expert has a weight below 1 % for every task. Plot: the declaration as given, first seed. Table: mean over "
        "seeds."
    )
    header = ["contender", "experts", *(f"effective, {task}" for task in tasks), "dead"]
    return [Section("Gates of the experts", text, plot, [Table(header, rows)])]


def _metrics(comparison: Comparison) -> list[Table]:
    columns = ["mean", "deviation", "difference", "95 % interval"]
    tables = []
    for name, task in comparison.tasks.items():
        for metric in task.higher_is_better:
            rows = []
            for contender in comparison.contenders:
                if figure := contender.figure(name, metric):
                    values = [number(figure.mean), number(figure.deviation)]
                    rows.append([contender.row_name, *values, signed(figure), interval(figure)])
            tables.append(Table([f"{name}: {metric} {task.arrow(metric)}", *columns], rows))
    return tables
