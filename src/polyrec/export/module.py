"""The exported module: from feature tensors to every task's prediction and the fused score.

Shape letters: B rows, V values of a row, K width, N rows, C outputs of a task.
"""

from __future__ import annotations

import copy

from torch import Tensor, nn
from torch.nn import functional

from polyrec.artifact.parts import Parts
from polyrec.calibration.calibrator import calibrated
from polyrec.core.batch import Input
from polyrec.core.names import SCORE
from polyrec.export.inputs import NEW_ITEM, unflatten
from polyrec.features.feature import Encoder
from polyrec.features.multi_categorical import BagEncoder
from polyrec.model.encoders import Encoders
from polyrec.model.model import Model
from polyrec.model.objective import Objective
from polyrec.predict.outputs import Pass, raised


class ExportedModel(nn.Module):
    """The model followed by predictions in the label's units, calibration and fusion.

    It holds a copy of the model whose inputs of several values per row are padded instead of concatenated.
    """

    def __init__(self, parts: Parts, model: Model) -> None:
        super().__init__()
        self.parts, self.objective = parts, Objective(parts.spec.tasks)
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        for parameter in self.model.parameters():
            parameter.data = parameter.data.contiguous()
        for encoders in self.model.copies:
            assert isinstance(encoders, Encoders)
            for name in encoders.encoders:
                encoder = encoders.encoders[name]
                if isinstance(encoder, BagEncoder):
                    encoders.encoders.replace(name, FilledBagEncoder(encoder.table))
        self.run = Pass(self.model, parts.spec)

    def forward(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the prediction (B,) or (B, C) of each task by name and, if a task is scalar, the fused score (B,)."""
        spec = self.parts.spec
        raw = self.run(unflatten(tensors, spec.all_features))
        predictions = self.objective.predictions(raw, self.parts.task_states)
        if NEW_ITEM in tensors:
            predictions = raised(predictions, spec.tasks, tensors[NEW_ITEM])
        predictions = calibrated(spec.calibration, self.parts.calibration_states, predictions)
        scalar = {task.name: predictions[task.name] for task in spec.tasks if task.is_scalar}
        score = {SCORE: spec.fusion.score(scalar, None, self.parts.fusion_states, raw.context)} if scalar else {}
        return {**score, **predictions}


class FilledBagEncoder(Encoder):
    """An embedding table summed or averaged over several values per row: (B, V) to (B, K). Negative values are padding."""

    def __init__(self, table: nn.EmbeddingBag) -> None:
        super().__init__()
        self.weight, self.mode = table.weight, table.mode

    def forward(self, values: Input) -> Tensor:
        assert isinstance(values, Tensor)
        is_real_BV = values >= 0
        x_BVK = functional.embedding(values.clamp(min=0), self.weight) * is_real_BV.unsqueeze(2)
        total_BK = x_BVK.sum(1)
        return total_BK if self.mode == "sum" else total_BK / is_real_BV.sum(1, keepdim=True).clamp(min=1)
