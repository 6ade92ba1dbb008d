"""Censored: a duration that was cut short. Shape letters: B rows."""

from __future__ import annotations

import math
from typing import Literal

import polars as pl
import torch
from torch import Tensor

from polyrec.tasks.numbers import NumbersTask
from polyrec.tasks.task import State

_LEAST_SCALE = 0.01

_LOG_LEAST_SCALE = math.log(_LEAST_SCALE)

_MOST_DEVIATIONS = 10.0

_MOST_LOGARITHM = 80.0


class Censored(NumbersTask):
    """The whole length of what is seen only up to a limit: watch time that ends with the video, a claim cut at its cover.

    Labels: numbers y with a limit L in each row. Where `y >= L` only `Y >= L` is known of the whole length Y; a null limit
    cuts nothing. Y is normal (Tobit; Tobin, Econometrica 1958) or log-normal (the accelerated failure time model; Kalbfleisch
    and Prentice, Wiley 1980) with a location and a scale for each row. Output: the expected whole length E[Y] in the label's
    units, which may exceed the limit; for the log-normal at most ten deviations above the mean logarithm. Loss in nats, of the
    label standardised by the training mean and deviation (of its logarithm): `-log P(Y >= L)` of a row that was cut, else
    `log max p - log p(y)` with max p the highest density that the least scale, a hundredth of that deviation, allows: the
    likelihood but for a constant, 0 at the perfect prediction and nowhere below. Regression on such labels takes the limit for
    the length and predicts too little; implementations with one scale for all rows or one fixed limit are special cases.
    State: `mean`, `scale`.
    """

    examples = (
        {"name": "seconds", "label": "seconds", "limit": "length"},
        {"name": "watched", "label": "seconds + 1", "limit": "length + 1", "distribution": "lognormal", "tower": [16]},
    )
    metrics = ("concordance", "uncensored_mae")

    limit: str
    """Column, or SQL expression over columns, that holds the most that could be observed in the row; null for no limit."""
    distribution: Literal["normal", "lognormal"] = "normal"
    """Distribution of the whole length given the features; `lognormal` is for labels and limits above 0."""

    @property
    def expressions(self) -> dict[str, str]:
        return {"label": self.label, "limit": self.limit}

    def fit(self, labels: pl.Series) -> State:
        numbers = self._seen(labels)["seen"]
        deviation = numbers.std(ddof=0)
        assert isinstance(deviation, float)
        return pl.DataFrame({"mean": [numbers.mean()], "scale": [deviation or 1.0]})

    def outputs(self, state: State) -> int:
        return 2

    def targets(self, labels: pl.Series, state: State) -> Tensor:
        """Return what was seen, standardised, and 1 where it was cut."""
        scaled = (pl.col("seen") - state["mean"][0]) / state["scale"][0]
        return self._seen(labels).select(scaled.fill_null(0.0), pl.col("cut").cast(pl.Float64)).to_torch().float()

    def loss(self, raw: Tensor, target: Tensor) -> Tensor:
        log_scale_B = _log_scale(raw)
        off_B = (target[:, 0] - raw[:, 0]) * torch.exp(-log_scale_B)
        exact_B = off_B.square() / 2 + log_scale_B - _LOG_LEAST_SCALE
        return torch.where(target[:, 1] > 0, _minus_log_survival(off_B), exact_B)

    def predict(self, raw: Tensor, state: State) -> Tensor:
        mean, scale = state["mean"][0], state["scale"][0]
        location_B = raw[:, 0] * scale + mean
        if self.distribution == "normal":
            return location_B
        variance_B = torch.exp(2 * (_log_scale(raw) + math.log(scale)))
        return torch.exp((location_B + variance_B / 2).clamp(max=min(mean + _MOST_DEVIATIONS * scale, _MOST_LOGARITHM)))

    def truth(self, target: Tensor, state: State) -> Tensor:
        """Return what was seen, in the label's units, and 1 where it was cut, (B, 2)."""
        seen_B = target[:, 0] * state["scale"][0] + state["mean"][0]
        return torch.stack([torch.exp(seen_B) if self.distribution == "lognormal" else seen_B, target[:, 1]], 1)

    def constant(self, targets: Tensor) -> Tensor:
        # One optimum: the likelihood is concave in 1 / scale and location / scale (Olsen, Econometrica 1978).
        with torch.inference_mode(False):
            targets_B2 = targets.double()
            spread = targets_B2[:, 0].std(correction=0).clamp(min=_LEAST_SCALE)
            raw_12 = torch.stack([targets_B2[:, 0].mean(), spread.log()])[None].requires_grad_()
            optimizer = torch.optim.LBFGS([raw_12], max_iter=100, tolerance_change=1e-12, line_search_fn="strong_wolfe")

            def closure() -> Tensor:
                optimizer.zero_grad()
                loss = self.loss(raw_12.expand(len(targets_B2), 2), targets_B2).mean()
                loss.backward()
                return loss

            optimizer.step(closure)
        return raw_12.detach().float()

    def _seen(self, labels: pl.Series) -> pl.DataFrame:
        """Return what was seen, `seen` (its logarithm for the log-normal), and whether it was cut, `cut`."""
        if not isinstance(labels.dtype, pl.Struct) or {field.name for field in labels.dtype.fields} != set(self.expressions):
            remedy = "Name the columns that hold them: label='seconds', limit='length'."
            raise self.wrong_labels("a label and a limit", f"the type {labels.dtype}", remedy)
        label, limit = (labels.struct.field(role) for role in ("label", "limit"))
        limit = limit.cast(pl.Float64) if limit.dtype == pl.Null else limit
        limit = self.finite(limit, "numbers as limits", null="no limit")
        pair = pl.DataFrame({"label": self.finite(label), "limit": limit})
        shorter = pl.when(pl.col("label").is_not_null()).then(pl.min_horizontal("label", "limit"))
        seen = pair.select(seen=shorter, cut=(pl.col("label") >= pl.col("limit")).fill_null(False))
        if self.distribution == "normal":
            return seen
        others = seen["seen"].filter(seen["seen"] <= 0).unique().sort().head(5)
        if len(others):
            found = f"also {others.to_list()}"
            remedy = "Add a constant to both, such as 'seconds + 1', or use distribution='normal'."
            raise self.wrong_labels("labels and limits above 0", found, remedy)
        return seen.with_columns(pl.col("seen").log())


def _log_scale(raw_B2: Tensor) -> Tensor:
    """Return the logarithm of `exp(raw) + least scale`: finite for any raw output."""
    return torch.logaddexp(raw_B2[:, 1], torch.full_like(raw_B2[:, 1], _LOG_LEAST_SCALE))


def _minus_log_survival(off_B: Tensor) -> Tensor:
    """Return `-log P(Z >= off)` of a standard normal Z, with a gradient that stays right where log_ndtr's overflows."""
    below_B, above_B = off_B.clamp(max=0) / math.sqrt(2), off_B.clamp(min=0) / math.sqrt(2)
    tail_B = above_B.square() - torch.log(torch.special.erfcx(above_B) / 2)
    return torch.where(off_B > 0, tail_B, -torch.log1p(-torch.erfc(-below_B) / 2))
