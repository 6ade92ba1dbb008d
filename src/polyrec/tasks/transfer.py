"""Transfer: states of earlier tasks as input of a later one. Shape letters: B rows, H width of a state, P parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from pydantic import Field
from torch import Tensor, nn

from polyrec.tasks.link import Link, LinkModule, Path, Raw


class Transfer(Link):
    """The later task attends to its state and to those of its direct predecessors (AITM; Xi et al., KDD 2021).

    `z_t = sum_u softmax_u(q(u) . k(u) / sqrt(H)) v(u)` over u in {state of t, g(z_a) for each predecessor a}, with linear q, k
    and v, and `g = relu(linear)`. Output and loss are those of the task without the link, over all rows with an observed label.
    If the task and a predecessor are Binary, training adds `constraint * max(p_t - p_a, 0)` to the loss: the later
    event cannot be more probable than the earlier one. AITM has one predecessor; here a task may have several.
    """

    examples = ({"tasks": ["like"]}, {"tasks": ["like", "stars"], "constraint": 0.0})

    constraint: float = Field(default=0.6, ge=0)
    """Weight of the penalty on the excess of the later probability over the earlier one."""

    def build(self, width: int, earlier: Sequence[int]) -> LinkModule:
        return TransferModule(width, earlier)

    def training_loss(
        self,
        loss_B: Callable[[], Tensor],
        path: Path,
        raw: Raw,
        targets: Mapping[str, Tensor],
        masks: Mapping[str, Tensor],
        probability: Callable[[str], Tensor],
    ) -> Tensor:
        total_B = loss_B()
        if self.constraint and path.task in path.logits:
            for earlier in (name for name in path.earlier if name in path.logits):
                excess_B = torch.relu(torch.sigmoid(raw[path.task]) - probability(earlier))
                total_B = total_B + self.constraint * excess_B
        return total_B


class TransferModule(LinkModule):
    """Attention over the state of the task and messages from earlier ones."""

    def __init__(self, width: int, earlier: Sequence[int]) -> None:
        super().__init__()
        self.sent = nn.ModuleList([nn.Linear(earlier_width, width) for earlier_width in earlier])
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))

    def forward(self, state_BH: Tensor, earlier_BH: Sequence[Tensor]) -> Tensor:
        messages = [torch.relu(linear(other_BH)) for linear, other_BH in zip(self.sent, earlier_BH, strict=True)]
        u_BPH = torch.stack([state_BH, *messages], 1)
        score_BP = (self.query(u_BPH) * self.key(u_BPH)).sum(2) / u_BPH.shape[2] ** 0.5
        return torch.einsum("bp,bph->bh", torch.softmax(score_BP, 1), self.value(u_BPH))
