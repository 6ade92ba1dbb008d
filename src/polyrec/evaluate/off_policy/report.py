"""`OffPolicy`: estimates of a policy's value, as printed tables and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Column, Table
from rich.text import Text

from polyrec.core.json_values import as_json
from polyrec.core.printing import Printed, numbers
from polyrec.evaluate.off_policy.weights import Interaction


@dataclass(frozen=True)
class Estimate:
    """Estimate of a policy's value: the mean over requests of the sum of a list's rewards."""

    value: float
    """The estimate."""
    low: float
    """Lower end of the 95 % interval of the estimate, for independent users."""
    high: float
    """Upper end of the interval."""
    ess: float
    """Effective sample size in requests, at the rank where it is smallest (Kish, 1965)."""
    gain: float
    """The estimate minus the value of the logging policy."""
    gain_low: float
    """Lower end of the 95 % interval of the gain; both values are estimated from the same requests."""
    gain_high: float
    """Upper end of the interval of the gain."""


@dataclass(frozen=True)
class Rank:
    """The importance weights at one rank."""

    rank: int
    """The rank, from 1."""
    requests: int
    """Number of lists that have this rank."""
    mean_weight: float
    """Mean weight: about 1 if the log covers the target and the propensities are correct."""
    largest_weight: float
    """The largest weight."""
    ess: float
    """Effective sample size, `(sum w)^2 / sum w^2`."""
    top_share: float
    """Share of the total weight in the largest 1 % of the weights."""
    clipped: float
    """Share of the weights that were clipped."""


@dataclass(frozen=True)
class OffPolicy(Printed):
    """Estimates of a policy's value from the log of another. `print` shows tables; `to_dict` returns JSON values."""

    reward: str
    """Column of the reward."""
    logged: Estimate
    """Value of the logging policy: the unweighted mean."""
    estimates: Mapping[str, Estimate]
    """Value of the target policy by estimator: `ips`, `snips` and, with a reward model, `dr`."""
    requests: int
    """Number of lists in the log."""
    users: int
    """Number of users, by which the intervals are clustered."""
    interaction: Interaction
    """What the reward of a rank is assumed to depend on."""
    clip: float | None
    """Upper bound of the weights, or None."""
    ranks: tuple[Rank, ...]
    """The weights by rank."""
    cautions: tuple[str, ...]
    """Reasons not to trust the estimates; empty if there are none."""

    def to_dict(self) -> dict[str, Any]:
        """Return the results as JSON values; an undefined number is None."""
        plain = as_json(asdict(self))
        assert isinstance(plain, dict)
        return plain

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render the tables in a terminal."""
        clip = "" if self.clip is None else f", weights clipped at {self.clip:g}"
        yield Text(f"{self.requests:,} requests of {self.users:,} users, {self.interaction} weights{clip}")
        heads = numbers("value", "95 % interval", "gain", "95 % interval", "effective requests")
        table = Table(Column(Text(f"{self.reward} per request")), *heads)
        for name, row in {"logged": self.logged, **self.estimates}.items():
            gains = (f"{row.gain:+.4f}", f"{row.gain_low:+.4f} to {row.gain_high:+.4f}") if name != "logged" else ("", "")
            table.add_row(name, f"{row.value:.4f}", f"{row.low:.4f} to {row.high:.4f}", *gains, f"{row.ess:,.0f}")
        yield table
        heads = numbers("lists", "mean weight", "largest", "effective", "in the top 1 %", "clipped")
        weights = Table("rank", *heads)
        for rank in self.ranks:
            sizes = (f"{rank.mean_weight:.3f}", f"{rank.largest_weight:.1f}", f"{rank.ess:,.0f}")
            weights.add_row(str(rank.rank), f"{rank.requests:,}", *sizes, f"{rank.top_share:.0%}", f"{rank.clipped:.1%}")
        yield weights
        yield from (Text(f"Caution: {caution}") for caution in self.cautions)
