"""Networks and balancing methods against each other and against one model a task, on Adult or MovieLens-100k.

    python benchmarks/compare.py adult --jobs 2
    python benchmarks/compare.py movielens --jobs 2

Each network of the list stands in for the declaration's own, and then each balancing method, one at a time; with them the tuned
fixed weights, one model a task and LightGBM, every one with the same number of fits. Networks are about as large as the
declaration's own. Writes docs/results/compare-NAME.json and compare-NAME.png; all fits stay in artifact/compare-NAME, where
an interrupted run goes on.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import polyrec
from polyrec import Binary, Categorical, MMoE, MultiCategorical, Multilabel, Numeric, Recommender, Regression, Training
from polyrec.compare.run import compare
from polyrec.core.files import write_text

HERE = Path(__file__).parent
RESULTS = HERE.parent / "docs" / "results"

BALANCERS = ["Uncertainty", "DWA", "GLS", "FAMO", "PCGrad", "CAGrad", "UPGrad"]


def networks(width: int, dropout: float, personal: list[str]) -> list[dict[str, Any]]:
    """Return the networks to compare with an MMoE of eight experts of one layer of a width."""
    common = {"dropout": dropout, "hidden": [width]}
    return [
        {"kind": "SharedBottom", **common, "hidden": [5 * width]},
        {"kind": "CGC", **common, "own": 2, "shared": 2},
        {"kind": "PLE", **common, "own": 1, "shared": 2, "levels": 2},
        {"kind": "CrossStitch", **common, "hidden": [8 * width // 3]},
        {"kind": "AdaTT", **common, "own": 2, "shared": 2},
        {"kind": "STEM", **common, "own": 1, "shared": 1},
        {"kind": "HoME", **common, "own": 1, "grouped": 1, "shared": 1},
        {"kind": "PEPNet", **common, "hidden": [2 * width], "gate": width // 2, "personal": personal},
    ]


def movielens() -> Recommender:
    """Return a declaration for MovieLens-100k that fits in seconds: ids and side columns, no text and no histories."""
    return Recommender(
        user=(
            Categorical(name="user_id", width=32),
            Categorical(name="occupation", width=32),
            Categorical(name="gender", width=32),
            Numeric(name="age", width=32),
        ),
        item=(
            Categorical(name="item_id", minimum_count=5, width=32),
            Numeric(name="year", width=32),
            MultiCategorical(name="genres", width=32),
        ),
        tasks=(
            Binary(name="like", label="rating >= 4", tower=(32,)),
            Regression(name="stars", label="rating", tower=(32,)),
            Multilabel(name="interest", label="CASE WHEN rating >= 4 THEN genres END", inputs="user", tower=(32,)),
        ),
        network=MMoE(experts=8, hidden=(32,), dropout=0.3),
        training=Training(epochs=10, batch_size=2048, optimizer="adamw", learning_rate=6e-3, weight_decay=0.05, patience=2),
    )


def declaration(name: str) -> tuple[Recommender, list[dict[str, Any]]]:
    """Return the declaration for a data set and the networks to compare."""
    if name == "adult":
        return Recommender.from_yaml(HERE / "adult.yaml"), networks(64, 0.3, ["age", "gender"])
    return movielens(), networks(32, 0.3, ["user_id"])


def reduced(value: Any) -> Any:
    """Return the figures with five significant digits."""
    if isinstance(value, dict):
        return {key: reduced(own) for key, own in value.items()}
    if isinstance(value, list):
        return [reduced(own) for own in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def main() -> None:
    """Run the comparison on one data set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=["adult", "movielens"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--trials", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2, help="fits at a time")
    told = parser.parse_args()
    dataset = polyrec.datasets.get("adult" if told.name == "adult" else "movielens-100k")
    print(dataset.terms)
    spec, others = declaration(told.name)
    out = HERE.parent / "artifact" / f"compare-{told.name}"
    result = compare(
        spec,
        dataset.load().table(),
        out,
        varied={"network": others, "balancing": BALANCERS},
        one_at_a_time=True,
        seeds=told.seeds,
        trials=told.trials,
        jobs=told.jobs,
        boosting=True,
    )
    path = RESULTS / f"compare-{told.name}.json"
    write_text(path, json.dumps(reduced(result.document), ensure_ascii=False, indent=1) + "\n")
    shutil.copyfile(out / "report.png", path.with_suffix(".png"))
    print(f"Wrote {path}, {path.with_suffix('.png')}; the page is {out / 'report.html'}")


if __name__ == "__main__":
    main()
