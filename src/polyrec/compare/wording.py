"""How the figures of a comparison are told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from polyrec.compare.reading import Document, figure_of, headlines

METHOD = (
    "Test rows ({test_rows:,}; {learning_rows:,} to learn from) were {test}; seeds vary the initial weights, the order of "
    "rows and the validation rows. Every contender had {fits_per_contender} fits: {trials} trials with the first seed, of "
    "which the one with the best utility on validation was trained with all {seeds} seeds. Trials multiply the step size "
    "by 1, 1/3, 3, 1/9, 9 and so on; those of the tuned fixed weights also try other task weights: equal ones first, then "
    "log-uniform draws. The single-task models have as many fits each. The test rows were judged once, from predictions "
    "written before. The difference to the single-task model is paired by seed. The variance of its mean is the variance "
    "between seeds over their number plus the squared standard error over {resamples} bootstrap resamples of the test "
    "users (rows, where there are no users) of the difference averaged over seeds; intervals and p values are Student's t "
    "with Welch-Satterthwaite degrees of freedom (Welch, Biometrika 1947). With one seed the first part is unknown and "
    "left out. Verdicts hold at 5 % for all contenders and tasks of the first metric together (Holm, Scandinavian Journal "
    "of Statistics 1979). Gain: the difference in % of the single-task value, above zero where it is better. LightGBM "
    "learns each task apart from the categorical and numeric columns and chooses its step size (0.1 times the same "
    "factors) by the skill on the same validation rows."
)
"""How the figures were made, with holes for the numbers."""


def summary(document: Document) -> str:
    """Say in two sentences how many headlines are better, worse or unclear."""
    verdicts = [
        figure["verdict"]
        for own in document["contenders"]
        if own["role"] in ("arm", "weights")
        for task, metric, _ in headlines(document)
        if (figure := figure_of(own, task, metric)).get("verdict")
    ]
    counts = {verdict: verdicts.count(verdict) for verdict in ("helps", "hurts", "unclear")}
    return (
        f"Of {len(verdicts)} pairs of a way to learn together and a task, learning together helps in {counts['helps']}, "
        f"hurts in {counts['hurts']} and is unclear in {counts['unclear']}. Points are the mean difference to a model of the "
        "task alone, with 95 % intervals over seeds and test users; colours are verdicts after Holm's correction for all tests "
        "of the page."
    )


def number(value: float | None, digits: int = 4) -> str:
    """Return a number with a few digits; nothing where it is undefined."""
    return "" if value is None else f"{value:.{digits}f}"


def signed(value: float | None) -> str:
    """Return a difference with its sign."""
    return "" if value is None else f"{value:+.4f}"


def interval(figure: Mapping[str, Any]) -> str:
    """Return the interval of a figure's difference."""
    return "" if figure.get("low") is None else f"[{figure['low']:+.4f}, {figure['high']:+.4f}]"


def gain(figure: Mapping[str, Any]) -> str:
    """Return the transfer gain of a figure."""
    return "" if figure.get("gain_percent") is None else f"{figure['gain_percent']:+.2f} %"


def p_value(figure: Mapping[str, Any]) -> str:
    """Return Holm's p value of a figure."""
    p = figure.get("adjusted_p")
    return "" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"
