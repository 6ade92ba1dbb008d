"""Coverage of the intervals of off-policy estimates, by a simulator whose true value is known exactly.

    python benchmarks/off_policy.py --runs 200

Users have one of 40 types, drawn uniformly; each makes two requests. Each type has a click probability for each item. In
lists an item is clicked half as often if the item above it is of the same of two kinds, so the reward of a rank depends
on the items above. Policies choose rank by rank among the items not yet chosen: by softmax of a score, by the best score
with a share of uniform draws (epsilon-greedy), or by the best score alone. For independent weights the ranks are also
independent: items can repeat, and clicks do not depend on the items above. All types and all ordered lists are enumerated,
so the true value of a target is an exact sum, not a simulation.

Each setting is a logging policy, a target, and a length of lists. Each run draws a log and calls `polyrec.off_policy` as a
user would, with a frame of candidates. Doubly robust has four reward models: the true one; one fitted on the log
(cross-fitted ridge on the item, on its click probability without the list, and on whether the item above is of the same kind);
the constant 0.9; and one that is always wrong, 1 minus the truth. The report has, by estimator, the share
of runs whose 95 % interval contains the true value, bias and standard deviation over runs, and the mean standard error that
the intervals imply. The last setting should not be trusted; the report therefore also has the share of runs with a caution.
Writes docs/results/off_policy.json.
"""

from __future__ import annotations

import argparse
import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from rich.console import Console
from rich.progress import track
from rich.table import Table

from polyrec import off_policy
from polyrec.core.files import write_text
from polyrec.evaluate.metrics.reliability import NORMAL
from polyrec.evaluate.off_policy.weights import Interaction

OUT = Path(__file__).parents[1] / "docs" / "results" / "off_policy.json"
TYPES, ITEMS = 40, 6
USERS = 1000
EPSILON = 0.4
"""Share of uniform draws of the epsilon-greedy policy."""
MODELS = ("true", "fitted", "constant", "wrong")


@dataclass(frozen=True)
class Policy:
    """A policy that chooses the items of a list rank by rank. Shape letters: N lists, T types, I items."""

    score_TI: np.ndarray
    kind: Literal["softmax", "epsilon", "greedy"]

    def probabilities(self, type_N: np.ndarray, taken_NI: np.ndarray) -> np.ndarray:
        """Return the probability of each item at the next rank, (N, I)."""
        score_NI = np.where(taken_NI, -np.inf, self.score_TI[type_N])
        best_NI = (score_NI == score_NI.max(1, keepdims=True)).astype(float)
        if self.kind == "greedy":
            return best_NI
        if self.kind == "epsilon":
            free_NI = ~taken_NI
            return (1 - EPSILON) * best_NI + EPSILON * free_NI / free_NI.sum(1, keepdims=True)
        weight_NI = np.exp(score_NI - score_NI.max(1, keepdims=True))
        return weight_NI / weight_NI.sum(1, keepdims=True)


@dataclass(frozen=True)
class Setting:
    """Logging policy, target policy, length of the lists and interaction."""

    logging: Literal["softmax", "epsilon"]
    target: Literal["softmax", "greedy"]
    length: int
    interaction: Interaction

    @property
    def name(self) -> str:
        """The setting in words."""
        lists = "1 item" if self.length == 1 else f"{self.length} items, {self.interaction}"
        return f"{self.logging} to {self.target}, {lists}"


SETTINGS = (
    Setting("softmax", "softmax", 1, "cascade"),
    Setting("softmax", "greedy", 1, "cascade"),
    Setting("epsilon", "softmax", 1, "cascade"),
    Setting("epsilon", "greedy", 1, "cascade"),
    Setting("softmax", "softmax", 3, "cascade"),
    Setting("softmax", "greedy", 2, "cascade"),
    Setting("epsilon", "softmax", 3, "cascade"),
    Setting("epsilon", "greedy", 2, "cascade"),
    Setting("softmax", "softmax", 3, "list"),
    Setting("softmax", "softmax", 3, "independent"),
    Setting("epsilon", "greedy", 3, "independent"),
    Setting("epsilon", "greedy", 3, "cascade"),
)


class World:
    """Users, items, click probabilities and policies. Shape letters: N lists, K ranks, T types, I items, P ordered lists."""

    def __init__(self, setting: Setting, seed: int = 0) -> None:
        generator = np.random.default_rng(seed)
        self.setting = setting
        self.logit_TI = generator.normal(size=(TYPES, ITEMS)) - 0.5
        self.click_TI = 1 / (1 + np.exp(-self.logit_TI))
        logged_TI = 0.5 * self.logit_TI + 0.7 * generator.normal(size=(TYPES, ITEMS))
        target_TI = self.logit_TI + 0.5 * generator.normal(size=(TYPES, ITEMS))
        self.logging = Policy(logged_TI, setting.logging)
        self.target = Policy(target_TI, setting.target)

    def click(self, type_N: np.ndarray, item_NK: np.ndarray) -> np.ndarray:
        """Return the probability of a click at each rank, (N, K)."""
        alike_NK = np.zeros(item_NK.shape, dtype=bool)
        if self.setting.interaction != "independent":
            alike_NK[:, 1:] = item_NK[:, 1:] % 2 == item_NK[:, :-1] % 2
        return self.click_TI[type_N[:, None], item_NK] * np.where(alike_NK, 0.5, 1.0)

    def taken(self, item_NK: np.ndarray, rank: int) -> np.ndarray:
        """Return which items are above a rank and cannot be chosen again, (N, I)."""
        taken_NI = np.zeros((len(item_NK), ITEMS), dtype=bool)
        if self.setting.interaction != "independent":
            taken_NI[np.arange(len(item_NK))[:, None], item_NK[:, :rank]] = True
        return taken_NI

    def value(self, policy: Policy) -> float:
        """Return the exact value of a policy: the mean over types of the expected clicks of a list."""
        list_PK = np.array(list(itertools.product(range(ITEMS), repeat=self.setting.length)))
        if self.setting.interaction != "independent":
            list_PK = np.array(list(itertools.permutations(range(ITEMS), self.setting.length)))
        type_N = np.repeat(np.arange(TYPES), len(list_PK))
        item_NK = np.tile(list_PK, (TYPES, 1))
        chance_N = np.ones(len(type_N))
        for rank in range(self.setting.length):
            chance_NI = policy.probabilities(type_N, self.taken(item_NK, rank))
            chance_N *= chance_NI[np.arange(len(type_N)), item_NK[:, rank]]
        return float((chance_N * self.click(type_N, item_NK).sum(1)).sum() / TYPES)

    def log(self, seed: int, users: int = USERS) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Draw a log and return it with the candidates of its ranks, including the predictions of the reward models."""
        generator = np.random.default_rng(seed)
        user_N = np.repeat(np.arange(users), 2)
        type_N = generator.integers(TYPES, size=users)[user_N]
        count, length = len(user_N), self.setting.length
        item_NK, propensity_NK = np.zeros((count, length), dtype=int), np.zeros((count, length))
        pieces = []
        for rank in range(length):
            taken_NI = self.taken(item_NK, rank)
            chance_NI = self.logging.probabilities(type_N, taken_NI)
            drawn_N = (generator.random((count, 1)) > chance_NI.cumsum(1)[:, :-1]).sum(1)
            item_NK[:, rank], propensity_NK[:, rank] = drawn_N, chance_NI[np.arange(count), drawn_N]
            place_M, item_M = (~taken_NI).nonzero()
            lists_MK = np.hstack([item_NK[place_M, :rank], item_M[:, None]])
            truth_M = self.click(type_N[place_M], lists_MK)[:, -1]
            alike_M = item_NK[place_M, rank - 1] % 2 == item_M % 2 if rank else np.zeros(len(place_M), dtype=bool)
            made = {
                "request": place_M,
                "position": np.full(len(place_M), rank + 1),
                "item": item_M,
                "probability": self.target.probabilities(type_N, taken_NI)[place_M, item_M],
                "true": truth_M,
                "constant": np.full(len(place_M), 0.9),
                "wrong": 1 - truth_M,
                "of": item_M.astype(str),
                "affinity": self.click_TI[type_N[place_M], item_M],
                "alike": alike_M,
            }
            pieces.append(pl.DataFrame(made))
        click_NK = generator.random((count, length)) < self.click(type_N, item_NK)
        log = pl.DataFrame(
            {
                "request": np.repeat(np.arange(count), length),
                "user": np.repeat(user_N, length),
                "item": item_NK.reshape(-1),
                "position": np.tile(np.arange(length) + 1, count),
                "propensity": propensity_NK.reshape(-1),
                "click": click_NK.reshape(-1),
            }
        )
        return log, pl.concat(pieces)


def estimate(world: World, seed: int, users: int = USERS) -> tuple[dict[str, tuple[float, float, float]], bool]:
    """Draw a log and return value, low and high of each estimator, and whether there is a caution."""
    log, candidates = world.log(seed, users)
    found, cautioned = {}, False
    for model in MODELS:
        asked = {"features": ("of", "affinity", "alike")} if model == "fitted" else {"predicted": model}
        result = off_policy(log, candidates, interaction=world.setting.interaction, **asked)
        cautioned = bool(result.cautions)
        for name, own in result.estimates.items():
            found[f"dr, {model} model" if name == "dr" else name] = (own.value, own.low, own.high)
    return found, cautioned


def run(setting: Setting, runs: int, users: int = USERS) -> dict[str, Any]:
    """Return the true value of a setting and, by estimator, coverage, bias and deviation."""
    world = World(setting)
    truth = world.value(world.target)
    estimates, cautioned = zip(*(estimate(world, seed, users) for seed in range(runs)), strict=True)
    told = {}
    for name in estimates[0]:
        value_R, low_R, high_R = (np.array(column) for column in zip(*(own[name] for own in estimates), strict=True))
        told[name] = {
            "coverage": float(((low_R <= truth) & (truth <= high_R)).mean()),
            "bias": float(value_R.mean() - truth),
            "deviation": float(value_R.std(ddof=1)),
            "standard_error": float((high_R - low_R).mean() / 2 / NORMAL),
        }
    return {"truth": truth, "logged": world.value(world.logging), "cautioned": float(np.mean(cautioned)), "estimators": told}


def main() -> None:
    """Run, print and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200, help="logs per setting, at least 2")
    parser.add_argument("--users", type=int, default=USERS, help="users per log, with two requests each")
    parser.add_argument("--out", type=Path, default=OUT, help="JSON file")
    options = parser.parse_args()
    settings = track(SETTINGS, "settings", console=Console(stderr=True))
    found = {setting.name: run(setting, options.runs, options.users) for setting in settings}
    table = Table("setting", "truth", "cautioned", "estimator", "coverage", "bias", "deviation", "mean standard error")
    for name, told in found.items():
        for place, (estimator, own) in enumerate(told["estimators"].items()):
            head = (name, f"{told['truth']:.4f}", f"{told['cautioned']:.0%}") if place == 0 else ("", "", "")
            figures = (f"{own[figure]:.4f}" for figure in ("bias", "deviation", "standard_error"))
            table.add_row(*head, estimator, f"{own['coverage']:.1%}", *figures)
    Console(width=130).print(table)
    facts = {"runs": options.runs, "users": options.users, "requests": 2 * options.users, "settings": found}
    write_text(options.out, json.dumps(facts, indent=1) + "\n")
    print(f"Wrote {options.out}")


if __name__ == "__main__":
    main()
