"""Networks and balancing methods compared with each other and with single-task models, on Adult or MovieLens-100k.

    python benchmarks/compare.py adult --jobs 2
    python benchmarks/compare.py movielens --jobs 2

Each network of a list replaces the network of the declaration, then each balancing method replaces its balancing, one change at
a time. The tuned fixed weights, single-task models and LightGBM are added; every contender has the same number of fits. All
networks are about as large as that of the declaration. Writes docs/results/compare-NAME.json and compare-NAME.png; the fits are
stored in artifact/compare-NAME, where an interrupted run continues.
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
    """Return the networks to compare with an MMoE of eight experts, each one layer of `width` units."""
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
    """Return a declaration for MovieLens-100k that fits in seconds: ids and side columns, without text and histories."""
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
    """Round all numbers of a JSON value to five significant digits."""
    if isinstance(value, dict):
        return {key: reduced(part) for key, part in value.items()}
    if isinstance(value, list):
        return [reduced(part) for part in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def main() -> None:
    """Run the comparison on one data set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=["adult", "movielens"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--trials", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2, help="number of parallel fits")
    options = parser.parse_args()
    dataset = polyrec.datasets.get("adult" if options.name == "adult" else "movielens-100k")
    print(dataset.terms)
    spec, others = declaration(options.name)
    out = HERE.parent / "artifact" / f"compare-{options.name}"
    result = compare(
        spec,
        dataset.load().table(),
        out,
        varied={"network": others, "balancing": BALANCERS},
        one_at_a_time=True,
        seeds=options.seeds,
        trials=options.trials,
        jobs=options.jobs,
        boosting=True,
    )
    path = RESULTS / f"compare-{options.name}.json"
    write_text(path, json.dumps(reduced(result.to_dict()), ensure_ascii=False, indent=1) + "\n")
    shutil.copyfile(out / "report.png", path.with_suffix(".png"))
    print(f"Wrote {path}, {path.with_suffix('.png')}; the page is {out / 'report.html'}")


if __name__ == "__main__":
    main()
