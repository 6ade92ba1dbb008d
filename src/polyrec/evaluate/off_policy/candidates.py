"""Candidates: which items the target policy may put at each rank of each logged list, and with which probability."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from polyrec.core.errors import UserError
from polyrec.data.conditions.expressions import require_columns
from polyrec.evaluate.off_policy.log import LogColumns, refuse_outside

PROBABILITY = "probability"
"""Column of the target's probability of a candidate, given the request and the items logged above its rank."""

_SLACK = 1e-3


@dataclass(frozen=True)
class Candidates:
    """Candidates of the ranks of a log, joined to it."""

    rows: pl.DataFrame
    """One row a candidate: `list` and `rank` as in the log, the item, `probability`, and what else was given."""
    shown: pl.DataFrame
    """One row a row of the log, in its order: its own candidate's columns, null where it is none."""
    unsupported: float | None
    """Mean probability that the target gives to items which the log's policy could not show; None where that is not told."""

    def expected(self, log: pl.DataFrame, values: pl.Series) -> pl.Series:
        """Return for each row of the log the mean of one value a candidate under the target's probabilities."""
        terms = self.rows.select("list", "rank", mean=pl.col(PROBABILITY) * values)
        means = terms.group_by("list", "rank").agg(pl.col("mean").sum())
        return log.select("list", "rank").join(means, on=["list", "rank"], how="left", maintain_order="left")["mean"]


def read_candidates(frame: pl.DataFrame, log: pl.DataFrame, columns: LogColumns) -> Candidates:
    """Join candidates to a log that `read_log` read.

    They are found by request and rank, or by request alone where every list has one item. A column of propensities, if there is
    one, holds those of the policy that made the log. Raises `UserError` where a rank of the log has no candidates, where
    its probabilities do not add up to 1, and where a candidate is there twice.
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
        remedy = "Give each item once for each rank."
        raise UserError("candidates", expected="each item once at a rank", found="some twice", remedy=remedy)
    totals = rows.group_by("list", "rank").agg(pl.col(PROBABILITY).sum())
    wrong = totals.filter((pl.col(PROBABILITY) - 1).abs() > _SLACK).height + log.height - totals.height
    if wrong:
        found = f"other sums, or none, at {wrong} of {log.height} ranks of lists"
        remedy = "Give every item that the target may put at a rank, with its probability given the items logged above."
        raise UserError("candidates", expected="probabilities that add up to 1", found=found, remedy=remedy)
    own = rows.drop(set(keys) - {columns.item}).with_columns(is_candidate=True)
    shown = log.select("list", "rank", columns.item).join(
        own, on=["list", "rank", columns.item], how="left", maintain_order="left"
    )
    return Candidates(rows, shown, _unsupported(rows, columns.propensity))


def _unsupported(rows: pl.DataFrame, propensity: str) -> float | None:
    if propensity not in rows.columns:
        return None
    missing = rows.filter(pl.col(propensity).fill_null(0) <= 0)[PROBABILITY].sum()
    return float(missing) / rows.select("list", "rank").n_unique()
