"""Text of a comparison: how numbers are formatted and how the figures were made."""

from __future__ import annotations

import math

from polyrec.compare.figure import Figure

METHOD = (
    "Test rows ({data.test_rows:,}; {data.learning_rows:,} to learn from) were {data.test}; seeds vary the initial weights, "
    "the order of rows and the validation rows. Every contender had {settings.fits_per_contender} fits: {settings.trials} "
    "trials with the first seed; the trial with the best utility on validation was then trained with all {settings.seeds} "
    "seeds. Trials multiply the learning rate by 1, 1/3, 3, 1/9, 9 and so on; trials of the tuned fixed weights also try "
    "different task weights: equal weights first, then log-uniform draws. The single-task models have as many fits each. The "
    "test rows were judged once, from stored predictions. The difference from the single-task model is paired by seed. The "
    "variance of its mean is the variance between seeds over their number plus the squared standard error, over "
    "{settings.resamples} bootstrap resamples of the test users (rows, where there are no users), of the difference averaged "
    "over seeds; intervals and p values are Student's t with Welch-Satterthwaite degrees of freedom (Welch, Biometrika 1947). "
    "With one seed the first term is unknown and omitted. Verdicts hold at 5 % for all contenders and tasks of the first "
    "metric together (Holm, Scandinavian Journal of Statistics 1979). Gain: the difference in % of the single-task value, "
    "positive where the contender is better. LightGBM learns each task separately from the categorical and numeric columns and"
    " chooses its learning rate (0.1 times the same factors) by the skill on the same validation rows."
)
"""How the figures were made, a format string of `settings` and `data`."""


def number(value: float | None, digits: int = 4) -> str:
    """Return a number with a few digits; an empty text where it is undefined."""
    return f"{value:.{digits}f}" if value is not None and math.isfinite(value) else ""


def signed(figure: Figure) -> str:
    """Return the difference of a figure with its sign."""
    estimate = figure.difference
    return "" if estimate is None or not math.isfinite(estimate.mean) else f"{estimate.mean:+.4f}"


def interval(figure: Figure) -> str:
    """Return the interval of a figure's difference."""
    estimate = figure.difference
    return "" if estimate is None or not math.isfinite(estimate.low) else f"[{estimate.low:+.4f}, {estimate.high:+.4f}]"


def gain(figure: Figure) -> str:
    """Return the gain of a figure."""
    return f"{figure.gain:+.2f} %" if math.isfinite(figure.gain) else ""


def p_value(figure: Figure) -> str:
    """Return Holm's p value of a figure."""
    p = figure.adjusted_p
    return "" if math.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"
