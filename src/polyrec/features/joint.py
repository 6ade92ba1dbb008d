"""Joint: an id and what is known of its content, as one vector.

Shape letters: N elements, J width of the id, C width of the content, K width of the joint.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from polyrec.features.feature import Feature

By = Literal["sum", "gate", "concat"]


class Joint(Feature):
    """An id and its content (a text, a vector, numbers), joined so that either can stand for the other.

    With `e` the id's row of its table, `c` the content's vector and s = 1 where the id has a row of its own, else 0:

    - `sum`: `s e + c` (as in LightFM; Kula, 2015): the id is what the content does not say.
    - `gate`: `g e + (1 - g) c`, `g = s sigmoid(W [e, c] + b)`: each number says for itself which of the two it is of (gated
      multimodal units; Arevalo et al., ICLR Workshop 2017).
    - `concat`: `W [s e, c, 1 - s] + b`.

    An id that is null, rare or never seen is not in it (s = 0): the vector is the content's alone, where a table on its own
    would give all such ids one row. `id_dropout` of the id's feature makes training meet that case (DropoutNet; Volkovs et al.,
    2017). In `sum` and `gate` a part of another width is mapped to the joint's by a linear layer. The two features serve
    the joint and their histories and graphs, and are no longer laid beside it. A `History` of a joint reads each earlier
    element as the candidate is read.
    """

    examples = (
        {"name": "film", "id": "item_id", "content": "text"},
        {"name": "reader", "id": "user_id", "content": "profile", "by": "gate", "width": 16},
    )

    id: str
    """Name of the Categorical feature, on the same side, that is the id."""
    content: str
    """Name of the feature, on the same side, that is the content: a Text, a Vector or any other but ids and histories."""
    by: By = "sum"
    """How the two become one vector."""
    alone: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of the training batches in which no id counts, so that the contents learn to stand alone against one another, as
    those of new items will. Dropping ids one by one, by `id_dropout`, teaches them to stand beside items that have an id."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.id == self.content:
            raise ValueError(f"`id` and `content` are both {self.id!r}; name a feature of ids and one of content")
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        return ()

    @property
    def parts(self) -> tuple[str, str]:
        """The names of the features of id and content."""
        return self.id, self.content

    def build_joint(self, id_width: int, content_width: int) -> JointEncoder:
        """Make the module that joins the vectors of the two."""
        return JointEncoder(id_width, content_width, self.width, self.by)


class JointEncoder(nn.Module):
    """Maps an id's vector (N, J), whether it counts (N,) and the content's vector (N, C) to (N, K)."""

    def __init__(self, id_width: int, content_width: int, width: int, by: By) -> None:
        super().__init__()
        self.by = by
        if by == "concat":
            self.both = nn.Linear(id_width + content_width + 1, width)
            return
        self.id = nn.Identity() if id_width == width else nn.Linear(id_width, width, bias=False)
        self.content = nn.Identity() if content_width == width else nn.Linear(content_width, width)
        if by == "gate":
            self.gate = nn.Linear(2 * width, width)

    def __call__(self, id_NJ: Tensor, seen_N: Tensor, content_NC: Tensor) -> Tensor:
        return super().__call__(id_NJ, seen_N, content_NC)

    def forward(self, id_NJ: Tensor, seen_N: Tensor, content_NC: Tensor) -> Tensor:
        seen_N1 = seen_N.to(content_NC.dtype).unsqueeze(1)
        if self.by == "concat":
            return self.both(torch.cat([id_NJ * seen_N1, content_NC, 1 - seen_N1], 1))
        id_NK, content_NK = self.id(id_NJ), self.content(content_NC)
        if self.by == "sum":
            return id_NK * seen_N1 + content_NK
        gate_NK = seen_N1 * torch.sigmoid(self.gate(torch.cat([id_NK, content_NK], 1)))
        return gate_NK * id_NK + (1 - gate_NK) * content_NK


def elements_of(feature: Feature, by_name: Mapping[str, Feature]) -> tuple[Feature, ...]:
    """Return the features that read columns for a feature: the two of a joint, else itself."""
    return tuple(by_name[name] for name in feature.parts) if isinstance(feature, Joint) else (feature,)
