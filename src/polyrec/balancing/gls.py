"""GLS: geometric mean of the losses. Shape letters: P tasks present."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from polyrec.balancing.balancer import Balance, Balancer, Gradients


class GLS(Balancer):
    """Geometric loss strategy (Chennupati et al., CVPR Workshops 2019): `L = (product of the L_t)^(1/T)` over tasks present.

    A task has the weight `L / (T L_t)`: multiplying a loss by a constant changes the step's length but not its direction. The
    sum of the weights is not fixed. The mean is computed in logarithms, which cannot overflow. Losses are clipped from below at
    a millionth of the loss of the task's best constant; other implementations return an infinite weight there.
    """

    examples = ({},)

    def build(self, tasks: Sequence[str]) -> Balance:
        return GLSBalance(tasks)


class GLSBalance(Balance):
    """Geometric mean, without learned state."""

    def forward(self, losses: Mapping[str, Tensor], gradients: Gradients) -> Tensor:
        loss_P, least_P = self.stacked(losses), 1e-6 * self.constants_T[self.present(losses)]
        clipped_P = loss_P.detach().maximum(least_P)
        return (clipped_P.log().mean().exp() / clipped_P * loss_P).mean()
