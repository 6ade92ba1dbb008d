"""`OffPolicy`: what a policy would have earned, for people and for programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Column, Table
from rich.text import Text

from polyrec.core.printing import Printed, numbers
from polyrec.evaluate.off_policy.weights import Interaction
from polyrec.evaluate.report import as_json


@dataclass(frozen=True)
class Estimate:
    """An estimate of a policy's value: the mean over requests of the sum of a list's rewards."""

    value: float
    """The estimate."""
    low: float
    """Lower end of its 95 % interval, users being independent."""
    high: float
    """Its upper end."""
    ess: float
    """How many requests of equal weight would tell as much, at the rank where it is least (Kish, 1965)."""
    gain: float
    """The estimate minus the value of the policy that made the log."""
    gain_low: float
    """Lower end of the gain's 95 % interval, both being estimated from the same requests."""
    gain_high: float
    """Its upper end."""


@dataclass(frozen=True)
class Rank:
    """The importance weights at one rank."""

    rank: int
    """The rank, from 1."""
    requests: int
    """Lists that have it."""
    mean_weight: float
    """About 1 where the log covers the target and propensities are right."""
    largest_weight: float
    """The largest weight."""
    ess: float
    """Effective sample size, `(sum w)^2 / sum w^2`."""
    top_share: float
    """Part of all weight in the largest hundredth of the weights."""
    clipped: float
    """Share of the weights that were clipped."""


@dataclass(frozen=True)
class OffPolicy(Printed):
    """Estimates of a policy's value from the log of another. `print` shows tables; `to_dict` is for JSON."""

    reward: str
    """Column of the reward."""
    logged: Estimate
    """The value of the policy that made the log: the plain mean."""
    estimates: Mapping[str, Estimate]
    """The target's value by estimator: `ips`, `snips` and, with a reward model, `dr`."""
    requests: int
    """Lists of the log."""
    users: int
    """Users, by whom the intervals are clustered."""
    interaction: Interaction
    """What the reward of a rank was taken to depend on."""
    clip: float | None
    """Bound of the weights, or None."""
    ranks: tuple[Rank, ...]
    """The weights by rank."""
    cautions: tuple[str, ...]
    """What speaks against trusting the figures; empty where nothing was found."""

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON values; an undefined one is None."""
        plain = as_json(asdict(self))
        assert isinstance(plain, dict)
        return plain

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render the tables in a terminal."""
        clip = "" if self.clip is None else f", weights clipped at {self.clip:g}"
        yield Text(f"{self.requests:,} requests of {self.users:,} users, {self.interaction} weights{clip}")
        heads = numbers("value", "95 % interval", "gain", "95 % interval", "effective requests")
        table = Table(Column(Text(f"{self.reward} a request")), *heads)
        for name, own in {"logged": self.logged, **self.estimates}.items():
            gains = (f"{own.gain:+.4f}", f"{own.gain_low:+.4f} to {own.gain_high:+.4f}") if name != "logged" else ("", "")
            table.add_row(name, f"{own.value:.4f}", f"{own.low:.4f} to {own.high:.4f}", *gains, f"{own.ess:,.0f}")
        yield table
        heads = numbers("lists", "mean weight", "largest", "effective", "in the top 1 %", "clipped")
        weights = Table("rank", *heads)
        for rank in self.ranks:
            sizes = (f"{rank.mean_weight:.3f}", f"{rank.largest_weight:.1f}", f"{rank.ess:,.0f}")
            weights.add_row(str(rank.rank), f"{rank.requests:,}", *sizes, f"{rank.top_share:.0%}", f"{rank.clipped:.1%}")
        yield weights
        yield from (Text(f"Caution: {caution}") for caution in self.cautions)
