"""Censored: a number that is observed up to a limit only. Shape letters: B rows."""

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
    """A number that is observed up to a limit only: watch time that ends with the video, a claim capped at its cover.

    Labels: numbers y with a limit L per row. A row with `y >= L` is censored: its latent value Y is only known to satisfy
    `Y >= L`. A row with a null limit is never censored. Given the features, Y is normal (Tobit; Tobin, Econometrica 1958) or
    log-normal (accelerated failure time model; Kalbfleisch and Prentice, Wiley 1980), with a location and a scale per row.
    Output: the expected latent value E[Y] in the label's units, which may exceed the limit; for the log-normal it is at most
    ten standard deviations above the mean logarithm. Loss in nats, on labels (or their logarithms) standardised by the training
    mean and standard deviation: `-log P(Y >= L)` for a censored row, else `log max p - log p(y)`, where max p is the highest
    density at the minimum scale, 0.01 standard deviations. It is the negative log-likelihood up to a constant, and at least 0.
    Regression on such labels treats the limit as the value and underestimates; models with one scale for all rows or one fixed
    limit are special cases. State: `mean`, `scale`.
    """

    examples = (
        {"name": "seconds", "label": "seconds", "limit": "length"},
        {"name": "watched", "label": "seconds + 1", "limit": "length + 1", "distribution": "lognormal", "tower": [16]},
    )
    metrics = ("concordance", "uncensored_mae")

    limit: str
    """Column, or SQL expression over columns, of the highest value that can be observed in the row; null for no limit."""
    distribution: Literal["normal", "lognormal"] = "normal"
    """Distribution of the latent value given the features; `lognormal` requires labels and limits above 0."""

    @property
    def expressions(self) -> dict[str, str]:
        return {"label": self.label, "limit": self.limit}

    def fit(self, labels: pl.Series) -> State:
        numbers = self._values(labels)["value"]
        deviation = numbers.std(ddof=0)
        assert isinstance(deviation, float)
        return pl.DataFrame({"mean": [numbers.mean()], "scale": [deviation or 1.0]})

    def outputs(self, state: State) -> int:
        return 2

    def targets(self, labels: pl.Series, state: State) -> Tensor:
        """Return the standardised observed value, and 1 for a censored row, (B, 2)."""
        scaled = (pl.col("value") - state["mean"][0]) / state["scale"][0]
        return self._values(labels).select(scaled.fill_null(0.0), pl.col("censored").cast(pl.Float64)).to_torch().float()

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
        """Return the observed value in the label's units, and 1 for a censored row, (B, 2)."""
        value_B = target[:, 0] * state["scale"][0] + state["mean"][0]
        return torch.stack([torch.exp(value_B) if self.distribution == "lognormal" else value_B, target[:, 1]], 1)

    def constant(self, targets: Tensor) -> Tensor:
        # The optimum is unique: the log-likelihood is concave in 1 / scale and location / scale (Olsen, Econometrica 1978).
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

    def _values(self, labels: pl.Series) -> pl.DataFrame:
        """Return the observed values as `value` (their logarithms for the log-normal), and the mask `censored`."""
        if not isinstance(labels.dtype, pl.Struct) or {field.name for field in labels.dtype.fields} != set(self.expressions):
            remedy = "Name their columns: label='seconds', limit='length'."
            raise self.wrong_labels("a label and a limit", f"the type {labels.dtype}", remedy)
        label, limit = (labels.struct.field(role) for role in ("label", "limit"))
        limit = limit.cast(pl.Float64) if limit.dtype == pl.Null else limit
        limit = self.finite(limit, "numbers as limits", null="no limit")
        pair = pl.DataFrame({"label": self.finite(label), "limit": limit})
        shorter = pl.when(pl.col("label").is_not_null()).then(pl.min_horizontal("label", "limit"))
        values = pair.select(value=shorter, censored=(pl.col("label") >= pl.col("limit")).fill_null(False))
        if self.distribution == "normal":
            return values
        invalid = values["value"].filter(values["value"] <= 0).unique().sort().head(5)
        if len(invalid):
            found = f"also {invalid.to_list()}"
            remedy = "Add a constant to both, such as 'seconds + 1', or use distribution='normal'."
            raise self.wrong_labels("labels and limits above 0", found, remedy)
        return values.with_columns(pl.col("value").log())


def _log_scale(raw_B2: Tensor) -> Tensor:
    """Return `log(exp(raw) + minimum scale)`, which is finite for any raw output."""
    return torch.logaddexp(raw_B2[:, 1], torch.full_like(raw_B2[:, 1], _LOG_LEAST_SCALE))


def _minus_log_survival(off_B: Tensor) -> Tensor:
    """Return `-log P(Z >= off)` for a standard normal Z; its gradient is correct where that of log_ndtr overflows."""
    below_B, above_B = off_B.clamp(max=0) / math.sqrt(2), off_B.clamp(min=0) / math.sqrt(2)
    tail_B = above_B.square() - torch.log(torch.special.erfcx(above_B) / 2)
    return torch.where(off_B > 0, tail_B, -torch.log1p(-torch.erfc(-below_B) / 2))
