"""The figures as tables in the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table


def shown(value: Mapping[str, Any], digits: int = 0) -> str:
    """Return a median with its range."""
    median, lowest, highest = (f"{value[name]:,.{digits}f}" for name in ("median", "lowest", "highest"))
    return f"{median} [{lowest}–{highest}]"


def workload(name: str, told: Mapping[str, Any]) -> Table:
    """Return the table of a workload: a line an arm and variant, and the arms that did not run."""
    unit, data = told["unit"], told["data"]
    digits = 1 if "ms" in unit else 0
    rows = f"{data['shape']['rows']:,} rows, {told['rounds']} rounds, Bayes AUC {data['bayes_auc']:.3f}"
    table = Table(title=f"{name}: {told['title']} ({rows})", title_justify="left")
    variants = [variant for arm in told["arms"].values() for variant in arm]
    for heading in ("arm", "variant", unit, "peak MB", "mean AUC", "first batch, s"):
        table.add_column(heading, justify="left" if heading in ("arm", "variant") else "right")
    for variant in dict.fromkeys(variants):
        for arm, figures in told["arms"].items():
            if variant in figures:
                own = figures[variant]
                auc = f"{own['auc']['mean']:.4f}" if "auc" in own else ""
                first = f"{own['first_batch_seconds']['median']:.1f}" if "first_batch_seconds" in own else ""
                table.add_row(arm, variant, shown(own[unit], digits), f"{own['peak_mb']:,.0f}", auc, first)
        table.add_section()
    if "roofline" in told:
        limit = told["roofline"]
        rates = f"{limit['flops_per_second'] / 1e9:.0f} GFLOP/s, {limit['bytes_per_second'] / 1e9:.1f} GB/s"
        table.add_row("roofline", rates, f"{limit['samples_per_cpu_second']:,.0f}", "", "", "")
    for arm, why in told["failed"].items():
        table.add_row(arm, "did not run", why, "", "", "", style="red")
    return table


def curves(told: Mapping[str, Any]) -> Table:
    """Return the table of the cost curves."""
    table = Table(title="Cost curves (batch 4,096)", title_justify="left")
    for heading in ("curve", "at", "arm", "samples per CPU-second", "samples per second", "peak MB"):
        table.add_column(heading, justify="left" if heading in ("curve", "arm") else "right")
    for point in told["points"]:
        for arm, own in point["arms"].items():
            rates = (shown(own[name]) for name in ("samples per CPU-second", "samples per second"))
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
