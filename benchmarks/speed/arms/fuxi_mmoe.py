"""MMoE of FuxiCTR's blocks: its model zoo's MMoE is not in the package, so the class is assembled here.

`MultiTaskModel`, `FeatureEmbedding` (which embeds numbers too) and `MLP_Block` are FuxiCTR's. Shape letters: B rows, E experts.
"""

from __future__ import annotations

from typing import Any

import torch
from fuxictr.pytorch.layers import FeatureEmbedding, MLP_Block
from fuxictr.pytorch.models import MultiTaskModel
from torch import nn

from speed.workloads import Size


class MMoE(MultiTaskModel):
    """Experts, and one linear gate and one tower per task."""

    def __init__(self, feature_map: Any, size: Size, tasks: int, **settings: Any) -> None:
        super().__init__(feature_map, task=["binary_classification"] * tasks, num_tasks=tasks, **settings)
        width = size.width * feature_map.num_fields
        self.embedding_layer = FeatureEmbedding(feature_map, size.width)
        self.experts = nn.ModuleList(MLP_Block(width, list(size.hidden)) for _ in range(size.experts))
        self.gates = nn.ModuleList(MLP_Block(width, output_dim=size.experts, output_activation="softmax") for _ in range(tasks))
        self.towers = nn.ModuleList(MLP_Block(size.hidden[-1], list(size.tower), output_dim=1) for _ in range(tasks))
        self.compile("adam", "binary_crossentropy", size.learning_rate)
        self.reset_parameters()
        self.model_to_device()

    def forward(self, inputs: dict[str, Any]) -> dict[str, torch.Tensor]:
        x_BD = self.embedding_layer(self.get_inputs(inputs)).flatten(start_dim=1)
        experts_BEH = torch.stack([expert(x_BD) for expert in self.experts], dim=1)
        predictions = {}
        parts = zip(self.feature_map.labels, self.gates, self.towers, self.output_activation, strict=True)
        for label, gate, tower, activation in parts:
            mixed_BH = (gate(x_BD).unsqueeze(-1) * experts_BEH).sum(1)
            predictions[f"{label}_pred"] = activation(tower(mixed_BH))
        return predictions
