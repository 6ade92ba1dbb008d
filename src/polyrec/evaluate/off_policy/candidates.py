"""Candidates: the items that the target policy may put at each rank of each logged list, with their probabilities."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from polyrec.core.errors import UserError
from polyrec.data.conditions.expressions import require_columns
from polyrec.evaluate.off_policy.log import LogColumns, refuse_outside

PROBABILITY = "probability"
"""Column of a candidate's probability under the target policy, given the request and the items logged above its rank."""

_SLACK = 1e-3


@dataclass(frozen=True)
class Candidates:
    """Candidates of the ranks of a log, joined to the log."""

    rows: pl.DataFrame
    """One row per candidate: `list` and `rank` as in the log, the item, `probability`, and all other columns given."""
    shown: pl.DataFrame
    """One row per row of the log, in its order: the columns of the candidate that was shown, null if it is not a candidate."""
    unsupported: float | None
    """Mean target probability of items that the logging policy could not show; None if its propensities are not given."""

    def expected(self, log: pl.DataFrame, values: pl.Series) -> pl.Series:
        """Return for each row of the log the mean, under the target's probabilities, of one value per candidate."""
        terms = self.rows.select("list", "rank", mean=pl.col(PROBABILITY) * values)
        means = terms.group_by("list", "rank").agg(pl.col("mean").sum())
        return log.select("list", "rank").join(means, on=["list", "rank"], how="left", maintain_order="left")["mean"]


def read_candidates(frame: pl.DataFrame, log: pl.DataFrame, columns: LogColumns) -> Candidates:
    """Join candidates to a log from `read_log`.

    They are joined by request and rank, or by request alone if every list has one item. An optional column of propensities
    holds those of the logging policy. Raises `UserError` if a rank of the log has no candidates, if the probabilities of a rank
    do not sum to 1, or if a candidate is repeated.
    """
    has_ranks = columns.position in frame.columns or bool((log["rank"] > 0).any())
    keys = [columns.request, columns.position] if has_ranks else [columns.request]
    require_columns(frame, (*keys, columns.item, PROBABILITY), "the candidates")
    require_columns(log, (*keys, columns.item), "the log")
    refuse_outside(frame[PROBABILITY].cast(pl.Float64), "the candidates", zero=True)
    casts = {name: log.schema[name] for name in (*keys, columns.item)}
    frame = frame.cast(casts).with_columns(pl.col(PROBABILITY).cast(pl.Float64))  # type: ignore[arg-type]
    rows = log.select("list", "rank", *keys).join(frame, on=keys, maintain_order="left_right")
    if rows.select("list", "rank", columns.item).is_duplicated().any():
        remedy = "Remove the repeated items of each rank."
        raise UserError("candidates", expected="each item once at a rank", found="repeated items", remedy=remedy)
    totals = rows.group_by("list", "rank").agg(pl.col(PROBABILITY).sum())
    wrong = totals.filter((pl.col(PROBABILITY) - 1).abs() > _SLACK).height + log.height - totals.height
    if wrong:
        found = f"other sums, or none, at {wrong} of {log.height} ranks of lists"
        remedy = "List every item that the target may put at a rank, with its probability given the items logged above."
        raise UserError("candidates", expected="probabilities that sum to 1", found=found, remedy=remedy)
    marked = rows.drop(set(keys) - {columns.item}).with_columns(is_candidate=True)
    shown = log.select("list", "rank", columns.item).join(
        marked, on=["list", "rank", columns.item], how="left", maintain_order="left"
    )
    return Candidates(rows, shown, _unsupported(rows, columns.propensity))


def _unsupported(rows: pl.DataFrame, propensity: str) -> float | None:
    if propensity not in rows.columns:
        return None
    missing = rows.filter(pl.col(propensity).fill_null(0) <= 0)[PROBABILITY].sum()
    return float(missing) / rows.select("list", "rank").n_unique()
