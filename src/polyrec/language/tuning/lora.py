"""LoRA: low-rank matrices added to those of a language model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import Field
from torch import nn

from polyrec.core.errors import missing_extra
from polyrec.language.tuning.tuning import Tuning, too_many


class LoRA(Tuning):
    """Low-rank adaptation: adds a learned product to each frozen matrix W of a layer, `W x + (alpha / rank) B A x`.

    Hu et al., ICLR 2022, through peft. All linear maps of attention and feed-forward parts are adapted, which Dettmers et al.
    (NeurIPS 2023) show to be necessary. B starts at zero, so that training starts from the original model. A is drawn from
    torch's generator, under the seed of the training.
    """

    examples = ({}, {"rank": 4, "alpha": 8, "dropout": 0.1, "layers": 2})

    rank: int = Field(default=8, gt=0)
    """Rows of A and columns of B."""
    alpha: int = Field(default=16, gt=0)
    """Numerator of the factor before the product."""
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Probability of dropping an input of A in training."""
    layers: int | None = Field(default=None, gt=0)
    """Number of adapted layers, counted from the top; the layers below are then computed once a text. Unset, all layers."""

    def changed(self, layers: int) -> int:
        if self.layers is not None and self.layers > layers:
            raise too_many("`layers` of LoRA", self.layers, layers)
        return self.layers or layers

    def prepare(self, model: Any, layers: Sequence[nn.Module]) -> None:
        try:
            from peft import LoraConfig, inject_adapter_in_model
        except ImportError as error:
            raise missing_extra("peft", "language", "LoRA") from error
        from transformers.pytorch_utils import Conv1D

        inside = {id(module) for layer in layers for module in layer.modules() if isinstance(module, nn.Linear | Conv1D)}
        targets = [name for name, module in model.named_modules() if id(module) in inside]
        assert targets, "a layer of a transformer has linear maps"
        transposed = any(isinstance(module, Conv1D) for module in model.modules())
        config = LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha,
            lora_dropout=self.dropout,
            target_modules=targets,
            fan_in_fan_out=transposed,
        )
        inject_adapter_in_model(config, model)
