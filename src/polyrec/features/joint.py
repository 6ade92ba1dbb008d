"""Joint: an id and its content, as one vector.

Shape letters: N elements, J width of the id, C width of the content, K width of the joint.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from polyrec.core.batch import Batch, Input, Pair
from polyrec.core.errors import nearest
from polyrec.features.categorical import Categorical
from polyrec.features.derived import Derived, DerivedEncoder, Reader, Scope
from polyrec.features.feature import State
from polyrec.features.id_feature import IdFeature

By = Literal["sum", "gate", "concat"]


class Joint(Derived):
    """An id and its content (a text, a vector, numbers), joined so that the content can replace an unseen id.

    With `e` the id's embedding row, `c` the content's vector, and s = 1 if the id is in the vocabulary, else 0:

    - `sum`: `s e + c` (as in LightFM; Kula, 2015): the id learns what the content does not explain.
    - `gate`: `g e + (1 - g) c`, `g = s sigmoid(W [e, c] + b)`: a gate weighs the two in each dimension (gated
      multimodal units; Arevalo et al., ICLR Workshop 2017).
    - `concat`: `W [s e, c, 1 - s] + b`.

    If an id is null, rare or never seen (s = 0), the vector depends on the content alone; a plain embedding table gives all
    such ids the same row. `id_dropout` of the id's feature produces this case in training (DropoutNet; Volkovs et al., 2017).
    In `sum` and `gate` a linear layer maps a part of another width to the joint's width. The two features are inputs of the
    joint and of their histories and graphs, and no longer separate inputs of the network. A `History` of a joint encodes each
    earlier element as the candidate is encoded.
    """

    examples = (
        {"name": "film", "id": "item_id", "content": "text"},
        {"name": "reader", "id": "user_id", "content": "profile", "by": "gate", "width": 16},
    )

    id: str
    """Name of the Categorical feature on the same side that holds the id."""
    content: str
    """Name of the feature on the same side that holds the content: any kind but ids and derived features."""
    by: By = "sum"
    """Formula that joins the two."""
    alone: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of training batches without any id, in which contents compete with each other, as those of new items will. In
    contrast, `id_dropout` drops single ids, so that their contents compete with items that have an id."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.id == self.content:
            raise ValueError(f"`id` and `content` are both {self.id!r}; name a feature of ids and one of content")
        return self

    @property
    def reads(self) -> tuple[str, str]:
        return self.id, self.content

    @property
    def replaces(self) -> tuple[str, str]:
        return self.reads

    @property
    def ids(self) -> tuple[str, ...]:
        return (self.id,)

    def check(self, scope: Scope) -> None:
        thing, same_side = f"joint {self.name!r}", scope.beside(self)
        ids = [name for name in same_side if isinstance(scope.features[name], Categorical)]
        if self.id not in ids:
            raise ValueError(f"{thing} needs {self.id!r} as a Categorical of the same side. {nearest(self.id, ids)}")
        content = [name for name in same_side if not isinstance(scope.features[name], IdFeature | Derived)]
        if self.content not in content:
            raise ValueError(f"{thing} needs {self.content!r} as content of the same side. {nearest(self.content, content)}")
        for other in scope.features.values():
            shared = (
                set(self.replaces).intersection(other.replaces) if isinstance(other, Derived) and other is not self else set()
            )
            if shared:
                raise ValueError(f"{shared.pop()!r} is part of {thing} and of {other.name!r}; declare one for each")
        for task, inputs in scope.inputs.items():
            named = [name for name in self.replaces if name in inputs]
            if named:
                raise ValueError(f"task {task!r} has the input {named[0]!r}, which is part of the {thing}. Name the joint.")

    def build_derived(self, widths: Mapping[str, int], state: State | None) -> JointEncoder:
        return JointEncoder(self, widths[self.id], widths[self.content])


class JointEncoder(DerivedEncoder):
    """Map the id's vector (N, J), a mask of seen ids (N,) and the content's vector (N, C) to (N, K)."""

    def __init__(self, joint: Joint, id_width: int, content_width: int) -> None:
        super().__init__()
        self.by, self.names, self.alone, width = joint.by, joint.reads, joint.alone, joint.width
        self._uses_ids: Tensor | None = None
        if self.by == "concat":
            self.both = nn.Linear(id_width + content_width + 1, width)
            return
        self.id = nn.Identity() if id_width == width else nn.Linear(id_width, width, bias=False)
        self.content = nn.Identity() if content_width == width else nn.Linear(content_width, width)
        if self.by == "gate":
            self.gate = nn.Linear(2 * width, width)

    def begin(self) -> None:
        """Draw whether this batch uses ids, (1,), if some training batches are without ids."""
        self._uses_ids = torch.rand(1) >= self.alone if self.training and self.alone > 0 else None

    def forward(self, reader: Reader) -> Tensor:
        name, content = self.names
        return self._joined(reader, reader.ids(name), reader.input(content))

    def input(self, batch: Batch) -> Pair:
        name, content = self.names
        return Pair(batch.inputs[name], batch.inputs[content])

    def elements(self, reader: Reader, values: Input) -> Tensor:
        assert isinstance(values, Pair) and isinstance(values.first, Tensor)
        return self._joined(reader, reader.dropped(self.names[0], values.first), values.second)

    def _joined(self, reader: Reader, ids: Tensor, content: Input) -> Tensor:
        """Return the joined vectors (N, K) of ids, after id dropout, and their content."""
        if self._uses_ids is not None:
            ids = ids * self._uses_ids
        return self.join(reader.lookup(self.names[0], ids), ids > 0, reader.elements(self.names[1], content))

    def join(self, id_NJ: Tensor, seen_N: Tensor, content_NC: Tensor) -> Tensor:
        """Return the joined vectors (N, K)."""
        seen_N1 = seen_N.to(content_NC.dtype).unsqueeze(1)
        if self.by == "concat":
            return self.both(torch.cat([id_NJ * seen_N1, content_NC, 1 - seen_N1], 1))
        id_NK, content_NK = self.id(id_NJ), self.content(content_NC)
        if self.by == "sum":
            return id_NK * seen_N1 + content_NK
        gate_NK = seen_N1 * torch.sigmoid(self.gate(torch.cat([id_NK, content_NK], 1)))
        return gate_NK * id_NK + (1 - gate_NK) * content_NK
