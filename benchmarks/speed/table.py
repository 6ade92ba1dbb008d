"""The figures as tables in the terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text


def shown(value: Mapping[str, Any], digits: int = 0) -> str:
    """Return a median with its range."""
    median, lowest, highest = (f"{value[name]:,.{digits}f}" for name in ("median", "lowest", "highest"))
    return f"{median} [{lowest}–{highest}]"


def digits(unit: str) -> int:
    """Return the number of decimals of a unit."""
    return 4 if unit == "auc" else 1 if "ms" in unit else 0


def workload(name: str, told: Mapping[str, Any]) -> Table:
    """Return the table of a workload: one row per arm and variant, and the arms that did not run."""
    unit, data = told["unit"], told["data"]
    rows = f"{data['shape']['rows']:,} rows, {told['rounds']} rounds, Bayes AUC {data['bayes_auc']:.3f}"
    table = Table(title=f"{name}: {told['title']} ({rows})", title_justify="left")
    columns: dict[str, Callable[[Mapping[str, Any]], str]] = {
        unit: lambda own: shown(own[unit], digits(unit)),
        "peak MB": lambda own: f"{own['peak_mb']:,.0f}",
        "mean AUC": lambda own: f"{own['auc']['mean']:.4f}",
        "first batch, s": lambda own: shown(own["first_batch_seconds"], 2),
        "after it": lambda own: shown(own["after_first"]),
    }
    needs = {"mean AUC": "auc", "first batch, s": "first_batch_seconds", "after it": "after_first"}
    lines = [(arm, variant, own) for arm, figures in told["arms"].items() for variant, own in figures.items()]
    columns = {head: cell for head, cell in columns.items() if all(needs.get(head, unit) in own for _, _, own in lines)}
    for heading in ("arm", "variant"):
        table.add_column(heading, no_wrap=True)
    for heading in columns:
        table.add_column(heading, justify="right", no_wrap=True)
    for kind in dict.fromkeys(variant for _, variant, _ in lines):
        for arm, variant, own in lines:
            if variant == kind:
                table.add_row(arm, variant, *(cell(own) for cell in columns.values()))
        table.add_section()
    if "roofline" in told:
        limit = told["roofline"]
        rates = f"{limit['flops_per_second'] / 1e9:.0f} GFLOP/s, {limit['bytes_per_second'] / 1e9:.1f} GB/s"
        table.add_row("roofline", rates, f"{limit['samples_per_cpu_second']:,.0f}")
    for arm, why in told["failed"].items():
        table.add_row(arm, "did not run", Text(why, overflow="fold"), style="red")
    return table


def curves(told: Mapping[str, Any]) -> Table:
    """Return the table of the cost curves."""
    table = Table(title="Cost curves (batch 4,096)", title_justify="left")
    for heading in ("curve", "at", "arm", "samples per CPU-second", "samples per second", "peak MB"):
        table.add_column(heading, justify="left" if heading in ("curve", "arm") else "right", no_wrap=True)
    for point in told["points"]:
        for arm, own in point["arms"].items():
            rates = (f"{own[name]:,.0f}" for name in ("samples per CPU-second", "samples per second"))
            table.add_row(point["curve"], f"{point['at']:,}", arm, *rates, f"{own['peak_mb']:,.0f}")
        for arm, why in point["failed"].items():
            table.add_row(point["curve"], f"{point['at']:,}", arm, why, "", "", style="red")
    return table


def tables(document: Mapping[str, Any], console: Console) -> None:
    """Print all tables."""
    for name, told in document["workloads"].items():
        console.print(workload(name, told))
    if "curves" in document:
        console.print(curves(document["curves"]))
