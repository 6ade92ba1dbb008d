"""Product: the probability of a whole path."""

from __future__ import annotations

from pydantic import Field

from polyrec.tasks.link import Link


class Product(Link):
    """The task's own output is conditional; the probability of the path is the product over it and all tasks before it.

    `P(buy) = p(click) p(buy | click)` (ESMM; Ma et al., SIGIR 2018), for any graph `P(t) = prod_{a before or at t} p_a`, each
    earlier task once. The loss is binary cross-entropy of the path's probability over ALL rows, so that the conditional part
    suffers no selection bias; a row where an earlier task did not happen is one where this one did not. Products are formed
    from logits, in logarithms. Prediction: the probability of the path; before calibration it never exceeds that of an
    earlier task.

    With `propensity_clip` the conditional output also has a loss of its own over the rows where the earlier tasks
    happened, each weighted by the inverse of their predicted probability p, `1 / max(p, propensity_clip)`, taken as given
    (ESCM2-IPS; Wang et al., SIGIR 2022). Unlike ports that clip the weight (of p times the number of clicks),
    the propensity is clipped.
    """

    examples = ({"tasks": ["like"]}, {"tasks": ["like"], "propensity_clip": 0.05, "propensity_weight": 0.5})

    propensity_clip: float | None = Field(default=None, gt=0, le=1)
    """Least propensity that a row is weighted by the inverse of; unset, there is no such loss."""
    propensity_weight: float = Field(default=1.0, gt=0)
    """Weight of the inverse-propensity loss beside the loss of the path."""
