"""Transfer: what an earlier task knows flows into a later one. Shape letters: B rows, H width of a state, P parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from pydantic import Field
from torch import Tensor, nn

from polyrec.tasks.link import Link, LinkModule, Path, Raw


class Transfer(Link):
    """The later task attends to its state and to those of the tasks right before it (AITM; Xi et al., KDD 2021).

    `z_t = sum_u softmax_u(q(u) . k(u) / sqrt(H)) v(u)` over u in {its state, g(z_a) for each task a before}, with linear q, k
    and v, and `g = relu(linear)`. Output and loss are those of the task alone, over all rows with an observed label. If it
    and the task right before it are Binary, the loss has a penalty on a later probability above the earlier one,
    `constraint * max(p_t - p_a, 0)`: a later event cannot be more probable. AITM has one earlier task; here there may be
    several.
    """

    examples = ({"tasks": ["like"]}, {"tasks": ["like", "stars"], "constraint": 0.0})

    constraint: float = Field(default=0.6, ge=0)
    """Weight of the excess of the later probability over the earlier one."""

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
    """Attention over the task's state and the maps of the earlier ones."""

    def __init__(self, width: int, earlier: Sequence[int]) -> None:
        super().__init__()
        self.sent = nn.ModuleList([nn.Linear(inputs, width) for inputs in earlier])
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))

    def forward(self, state_BH: Tensor, earlier_BH: Sequence[Tensor]) -> Tensor:
        sent = [torch.relu(send(own_BH)) for send, own_BH in zip(self.sent, earlier_BH, strict=True)]
        u_BPH = torch.stack([state_BH, *sent], 1)
        score_BP = (self.query(u_BPH) * self.key(u_BPH)).sum(2) / u_BPH.shape[2] ** 0.5
        return torch.einsum("bp,bph->bh", torch.softmax(score_BP, 1), self.value(u_BPH))
