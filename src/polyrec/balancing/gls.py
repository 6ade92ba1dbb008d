"""GLS: the geometric mean of the losses. Shape letters: P tasks present."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from polyrec.balancing.balancer import Balance, Balancer, Gradients


class GLS(Balancer):
    """Geometric loss strategy (Chennupati et al., CVPR Workshops 2019): `L = (product of the L_t)^(1/T)` over tasks present.

    A task weighs `L / (T L_t)`: multiplying a loss changes the step's length but not its direction, and the weights' sum is
    free. It is computed in logarithms, which cannot overflow; a loss counts as a millionth of that of the task's best constant
    at least, where others return an infinite weight.
    """

    examples = ({},)

    def build(self, tasks: Sequence[str]) -> Balance:
        return GLSBalance(tasks)


class GLSBalance(Balance):
    """The geometric mean; it learns nothing."""

    def forward(self, losses: Mapping[str, Tensor], gradients: Gradients) -> Tensor:
        loss_P, least_P = self.stacked(losses), 1e-6 * self.constants_T[self.present(losses)]
        held_P = loss_P.detach().maximum(least_P)
        return (held_P.log().mean().exp() / held_P * loss_P).mean()
