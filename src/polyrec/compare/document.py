"""report.json: all figures as JSON values. Its fields are only ever added to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from polyrec.compare.choosing import Finished
from polyrec.compare.contenders import factors
from polyrec.compare.findings import Figure
from polyrec.compare.fits.job import versions
from polyrec.compare.fits.tables import Split
from polyrec.compare.gradients import gate_summary, gradient_summary
from polyrec.compare.statistics import LEVEL
from polyrec.compare.truths import Truth
from polyrec.core.json_values import as_json
from polyrec.evaluate.metrics.metrics import METRICS
from polyrec.recommender import Recommender

FORMAT = 1
"""Version of the document."""


def write_document(
    spec: Recommender,
    varied: Mapping[str, Sequence[Any]],
    split: Split,
    truths: Mapping[str, Truth],
    finished: Sequence[Finished],
    figures: Sequence[Sequence[Figure]],
    *,
    design: str,
    seeds: int,
    trials: int,
    resamples: int,
) -> dict[str, Any]:
    """Return everything that was found, undefined figures as None."""
    told = {
        "format": FORMAT,
        "versions": versions(),
        "spec": spec.model_dump(mode="json"),
        "data": {
            "learning_rows": split.learn.height,
            "test_rows": split.test.height,
            "test": split.how,
            "learning_sha256": split.learn_path.stem,
            "test_sha256": split.test_path.stem,
        },
        "settings": {
            "varied": varied,
            "design": design,
            "seeds": seeds,
            "trials": trials,
            "rate_factors": factors(trials),
            "fits_per_contender": trials + seeds - 1,
            "resamples": resamples,
            "level": LEVEL,
        },
        "tasks": {name: _task(truth) for name, truth in truths.items()},
        "contenders": [_contender(own, found) for own, found in zip(finished, figures, strict=True)],
    }
    plain = as_json(told)
    assert isinstance(plain, dict)
    return plain


def _task(truth: Truth) -> dict[str, Any]:
    return {
        "kind": type(truth.task).__name__,
        "headline": truth.headline,
        "metrics": {name: {"higher_is_better": METRICS[name].higher_is_better} for name in truth.metrics},
        "test_rows": len(truth.target),
        "test_users": None if truth.group is None else truth.users,
    }


def _contender(own: Finished, figures: Sequence[Figure]) -> dict[str, Any]:
    contender, results = own.contender, [run.result for run in own.runs]
    trials = [
        {"learning_rate": trial.rate, "weights": trial.weights, **vars(tried)}
        for trial, tried in zip(contender.trials, own.tried, strict=True)
    ]
    spec = contender.trials[own.chosen or 0].job.spec
    shown = {name: value for name, value in spec.model_dump(mode="json").items() if name in ("network", "balancing")}
    memory = [result["peak_bytes"] for result in results if result["peak_bytes"] is not None]
    return {
        "name": contender.name,
        "role": contender.role,
        "own": contender.is_own,
        "tasks": list(contender.tasks),
        "error": own.error,
        **({} if contender.role == "boosting" else shown),
        "trials": trials,
        "chosen": own.chosen,
        "seeds": [
            {
                "seed": seed,
                "run": run.path.name,
                **{name: result[name] for name in ("utility", "best_epoch", "epochs", "cpu_seconds", "peak_bytes")},
            }
            for seed, (run, result) in enumerate(zip(own.runs, results, strict=True))
        ],
        "cost": {
            "parameters": results[0]["parameters"] if results else None,
            "cpu_seconds": float(np.mean([result["cpu_seconds"] for result in results])) if results else None,
            "peak_bytes": max(memory, default=None),
        },
        "gradients": gradient_summary([result["curves"] for result in results]) if results else None,
        "gates": gate_summary([result["gates"] for result in results]),
        "figures": _by_task(figures),
    }


def _by_task(figures: Sequence[Figure]) -> dict[str, dict[str, Any]]:
    told: dict[str, dict[str, Any]] = {}
    for figure in figures:
        told.setdefault(figure.task, {})[figure.metric] = _figure(figure)
    return told


def _figure(figure: Figure) -> dict[str, Any]:
    told: dict[str, Any] = {"values": figure.values, "mean": figure.mean, "deviation": figure.deviation}
    if figure.difference is not None:
        own = figure.difference
        told |= {
            "difference": own.mean,
            "low": own.low,
            "high": own.high,
            "seed_error": own.seed_error,
            "test_error": own.test_error,
            "degrees": own.degrees,
            "gain_percent": figure.gain,
            "p": own.p,
            "adjusted_p": figure.adjusted_p,
            "verdict": figure.verdict,
        }
    return told
