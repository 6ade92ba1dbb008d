"""The synthetic data of the MMoE paper: does the way of sharing matter, by the relation of two tasks?

    python benchmarks/mmoe_generator.py --datasets 20 --jobs 2

Labels are those of Ma et al. ("Modeling task relationships in multi-task learning with multi-gate mixture-of-experts", KDD
2018, section 3.2): with orthonormal u_1 and u_2 in R^100,

    w_1 = c u_1,  w_2 = c (p u_1 + sqrt(1 - p^2) u_2),  x ~ N(0, I)
    y_k = w_k'x + sum_i sin(alpha_i w_k'x + beta_i) + noise,  noise ~ N(0, 0.01)

so that the cosine of the tasks' weights is p. The paper does not specify c, alpha and beta; here c = 1,
alpha_i ~ N(0, f^2) and beta_i is uniform on the circle, ten of each, drawn for each data set and shared by its tasks. The
frequency f sets the roughness of the labels; the default of `--frequency` is 2. Data set n differs
between values of p only in p.

Three arms of equal size: MMoE as in the paper (8 experts of one layer of 16 units, towers of 8), SharedBottom, and two
separate networks. Their widths are chosen so that the numbers of parameters match within 5 %. Arms use the same data sets in
the same order of rows. For each data set and arm the learning rate (of three) and the epoch are the best on validation rows,
and the test rows are evaluated once. Figures are R^2, the mean of both tasks; intervals are t-intervals over data sets, of
paired differences. Writes docs/results/mmoe-generator.json and .png.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from scipy import stats
from torch import Tensor, nn

from polyrec import MMoE, SharedBottom
from polyrec.core.files import write_text
from polyrec.layers.mlp import MLP
from polyrec.networks.network import Network

OUT = Path(__file__).parents[1] / "docs" / "results" / "mmoe-generator.json"
RELATIONS = (0.0, 0.5, 0.9, 1.0)
WIDTH, SINES, NOISE = 100, 10, 0.1
"""Length of x, number of sines, standard deviation of the noise."""
TASKS = ("first", "second")
TOWER = 8
RATES = (1e-3, 3e-3, 1e-2)
BATCH = 256


@dataclass(frozen=True)
class Plan:
    """Sizes of the data and length of the training."""

    training_rows: int = 8_000
    validation_rows: int = 4_000
    test_rows: int = 8_000
    epochs: int = 60
    frequency: float = 2.0


@dataclass(frozen=True)
class Data:
    """Rows of a data set, and the weights and noise that generated them. Shape letters: N rows, D width, T tasks."""

    x_ND: Tensor
    y_NT: Tensor
    w_TD: np.ndarray
    noise_NT: np.ndarray


def generate(relation: float, seed: int, rows: int, frequency: float) -> Data:
    """Draw a data set with this cosine of the task weights and this deviation of the frequencies of its sines."""
    generator = np.random.default_rng(seed)
    u_D2, _ = np.linalg.qr(generator.normal(size=(WIDTH, 2)))
    w_TD = np.stack([u_D2[:, 0], relation * u_D2[:, 0] + np.sqrt(1 - relation**2) * u_D2[:, 1]])
    alpha_S, beta_S = generator.normal(scale=frequency, size=SINES), generator.uniform(0, 2 * np.pi, SINES)
    x_ND = generator.normal(size=(rows, WIDTH))
    z_NT = x_ND @ w_TD.T
    noise_NT = generator.normal(scale=NOISE, size=z_NT.shape)
    y_NT = z_NT + np.sin(alpha_S * z_NT[:, :, None] + beta_S).sum(2) + noise_NT
    return Data(torch.from_numpy(x_ND).float(), torch.from_numpy(y_NT).float(), w_TD, noise_NT)


class Model(nn.Module):
    """A network and a tower for each of its tasks. Maps (B, D) to (B, T)."""

    def __init__(self, network: Network, tasks: Sequence[str]) -> None:
        super().__init__()
        self.tasks = tuple(tasks)
        self.network = network.build({"x": WIDTH}, self.tasks)
        towers = [nn.Sequential(tower := MLP(self.network.width, (TOWER,)), nn.Linear(tower.width, 1)) for _ in tasks]
        self.towers = nn.ModuleList(towers)

    def forward(self, x_BD: Tensor) -> Tensor:
        hidden = self.network(x_BD, self.tasks)
        return torch.cat([tower(hidden[task]) for task, tower in zip(self.tasks, self.towers, strict=True)], 1)


class Apart(nn.Module):
    """Separate models, one per task. Maps (B, D) to (B, T)."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.models = nn.ModuleList(Model(network, [task]) for task in TASKS)

    def forward(self, x_BD: Tensor) -> Tensor:
        return torch.cat([model(x_BD) for model in self.models], 1)


ARMS = {
    "single": lambda: Apart(SharedBottom(hidden=(68,))),
    "shared_bottom": lambda: Model(SharedBottom(hidden=(126,)), TASKS),
    "mmoe": lambda: Model(MMoE(experts=8, hidden=(16,)), TASKS),
}


def parameters(model: nn.Module) -> int:
    """Return the number of parameters of a model."""
    return sum(parameter.numel() for parameter in model.parameters())


def r2(model: nn.Module, x_ND: Tensor, y_NT: Tensor) -> float:
    """Return the explained share of the label variance, averaged over tasks."""
    with torch.no_grad():
        errors_T = (model(x_ND) - y_NT).square().mean(0)
    return float((1 - errors_T / y_NT.var(0, correction=0)).mean())


def train(
    model: nn.Module, data: Mapping[str, tuple[Tensor, Tensor]], rate: float, epochs: int, seed: int
) -> tuple[float, int]:
    """Train with Adam and keep the weights of the epoch that is best on validation; return its R^2 and number."""
    x_ND, y_NT = data["training"]
    optimizer = torch.optim.Adam(model.parameters(), rate, fused=True)
    order = torch.Generator().manual_seed(seed)
    best, best_epoch, weights = -float("inf"), 0, {}
    for epoch in range(1, epochs + 1):
        for rows_B in torch.randperm(len(x_ND), generator=order).split(BATCH):
            loss = (model(x_ND[rows_B]) - y_NT[rows_B]).square().mean()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        reached = r2(model, *data["validation"])
        if reached > best:
            best, best_epoch = reached, epoch
            weights = {name: value.clone() for name, value in model.state_dict().items()}
    model.load_state_dict(weights)
    return best, best_epoch


def run(relation: float, number: int, plan: Plan) -> dict[str, float]:
    """Train every arm on one data set; return test R^2, chosen learning rate and epoch by arm."""
    torch.set_num_threads(1)
    sizes = (plan.training_rows, plan.validation_rows, plan.test_rows)
    whole = generate(relation, number, sum(sizes), plan.frequency)
    mean_T, deviation_T = whole.y_NT[: sizes[0]].mean(0), whole.y_NT[: sizes[0]].std(0)
    y_NT = (whole.y_NT - mean_T) / deviation_T
    parts = zip(("training", "validation", "test"), whole.x_ND.split(sizes), y_NT.split(sizes), strict=True)
    data = {name: (x_ND, labels_NT) for name, x_ND, labels_NT in parts}
    found: dict[str, float] = {"ceiling": float(1 - (NOISE**2 / whole.y_NT.var(0)).mean())}
    for arm, build in ARMS.items():
        candidates = []
        for rate in RATES:
            torch.manual_seed(number)
            model = build()
            reached, epoch = train(model, data, rate, plan.epochs, number)
            candidates.append((reached, rate, epoch, model))
        _, rate, epoch, model = max(candidates, key=lambda candidate: candidate[0])
        found |= {arm: r2(model, *data["test"]), f"{arm}.rate": rate, f"{arm}.epoch": epoch}
    return found


def run_all(plan: Plan, datasets: int, jobs: int) -> dict[str, list[dict[str, float]]]:
    """Run every data set of every relation in separate processes; return their figures by relation."""
    columns = [TextColumn("data sets"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn()]
    places = [*itertools.product(range(datasets), RELATIONS)]
    found = {}
    with (
        ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool,
        Progress(*columns, console=Console(stderr=True)) as bar,
    ):
        line = bar.add_task("", total=len(places))
        waiting = {pool.submit(run, relation, number, plan): (relation, number) for number, relation in places}
        for done in as_completed(waiting):
            found[waiting[done]] = done.result()
            bar.advance(line)
    return {str(relation): [found[relation, number] for number in range(datasets)] for relation in RELATIONS}


def interval(values: np.ndarray) -> dict[str, float]:
    """Return the mean and the half-width of its 95 % t-interval."""
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return {"mean": float(values.mean()), "half": float(half)}


PAIRS = (("mmoe", "shared_bottom"), ("mmoe", "single"), ("shared_bottom", "single"))


def summarise(figures: Mapping[str, Sequence[Mapping[str, float]]]) -> dict[str, dict[str, dict[str, float]]]:
    """Return intervals of each arm's R^2, and of the paired differences, by relation."""
    summary = {}
    for relation, rows in figures.items():
        arms = {arm: np.array([row[arm] for row in rows]) for arm in ARMS}
        differences = {f"{one} - {other}": interval(arms[one] - arms[other]) for one, other in PAIRS}
        summary[relation] = {**{arm: interval(values) for arm, values in arms.items()}, **differences}
    return summary


NAMES = {"single": "single-task", "shared_bottom": "SharedBottom", "mmoe": "MMoE"}
COLOURS = {"single": "#777777", "shared_bottom": "#d95f02", "mmoe": "#1b6ca8"}


def plot(summary: Mapping[str, Mapping[str, Mapping[str, float]]], datasets: int, path: Path) -> None:
    """Draw R^2 by arm, and the paired differences, by relation."""
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    differences = {f"{one} - {other}": (f"{NAMES[one]} − {NAMES[other]}", COLOURS[one]) for one, other in PAIRS}
    differences["mmoe - single"] = (differences["mmoe - single"][0], "#66a3d2")
    arms = {arm: (NAMES[arm], COLOURS[arm]) for arm in ARMS}
    places = np.arange(len(summary))
    for axes, lines, title in (
        (left, arms, "R² on test rows"),
        (right, differences, "paired difference of R²"),
    ):
        for position, (key, (label, colour)) in enumerate(lines.items()):
            means, halves = ([row[key][part] for row in summary.values()] for part in ("mean", "half"))
            shifted = places + 0.16 * (position - 1)
            axes.errorbar(shifted, means, yerr=halves, fmt="o", capsize=4, color=colour, label=label)
        axes.set_xticks(places, list(summary))
        axes.set_xlabel("cosine of the tasks' weights, p")
        axes.set_title(title)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3, fontsize=8)
    right.axhline(0, color="black", linewidth=0.8)
    figure.suptitle(f"Mean over {datasets} data sets and its 95 % interval", fontsize=10)
    figure.savefig(path, dpi=150)


def main() -> None:
    """Run, print and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datasets", type=int, default=20, help="data sets per relation, at least 2")
    parser.add_argument("--jobs", type=int, default=min(os.cpu_count() or 1, 8), help="processes")
    parser.add_argument("--out", type=Path, default=OUT, help="JSON file; the plot is written next to it")
    parser.add_argument("--frequency", type=float, default=2.0, help="deviation of alpha: roughness of the labels")
    parser.add_argument("--quick", action="store_true", help="few rows and epochs: a smoke test, not a result")
    options = parser.parse_args()
    plan = Plan(512, 200, 200, 1, options.frequency) if options.quick else Plan(frequency=options.frequency)
    figures = run_all(plan, options.datasets, options.jobs)
    summary = summarise(figures)
    for relation, lines in summary.items():
        for name, line in lines.items():
            print(f"p = {relation:4} {name:24} {line['mean']:+.4f} ± {line['half']:.4f}")
    sizes = {arm: parameters(build()) for arm, build in ARMS.items()}
    facts = {"datasets": options.datasets, "plan": vars(plan), "rates": RATES, "parameters": sizes, "summary": summary}
    write_text(options.out, json.dumps({**facts, "figures": figures}, indent=1) + "\n")
    plot(summary, options.datasets, options.out.with_suffix(".png"))
    print(f"Wrote {options.out} and {options.out.with_suffix('.png')}")


if __name__ == "__main__":
    main()
