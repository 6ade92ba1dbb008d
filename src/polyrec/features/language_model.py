"""LanguageModel: a text encoded by a language model that is trained with the tasks.

Shape letters: N rows, B rows of a batch, U distinct texts, D width of the language model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

import numpy as np
import polars as pl
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from polyrec.core.batch import Bag, Input, Lookup, Ragged, Repeated
from polyrec.core.errors import UserError
from polyrec.features.feature import Encoder, ExportObstacle, Feature, Rates, State
from polyrec.features.text_feature import TextFeature, numbered
from polyrec.language.encoder import TextEncoder
from polyrec.language.encoders.package import Package
from polyrec.language.post_processing import PostProcessing
from polyrec.language.tuning.frozen import Frozen
from polyrec.language.tuning.lora import LoRA
from polyrec.language.tuning.tunable import TunableTransformer
from polyrec.language.tuning.tuning import Tuning

_SAMPLE = 256
"""Number of training texts from which mean and scale of the vectors are computed."""


class LanguageModel(TextFeature):
    """A text about the row, encoded by a language model that is trained jointly with the tasks.

    As the only feature, below a `SharedBottom` or experts, it is the network that all tasks share; with other features it is
    one of their inputs. The template renders a row's text as for a `Text`. The text is truncated at the model's length and
    encoded once per batch, however many rows share it. Token states are pooled as the model specifies, centred, and divided by
    their deviation over a sample of training texts encoded by the untrained model. A linear layer maps (vector, 1 if empty) to
    (B, width). The tasks' balanced losses train the parameters that `tuning` selects.

    The artifact holds the trained parameters and the content hash of the base model, not the base model: loading needs the same
    model and refuses another. State, one row per dimension: `mean`, `scale`, and, equal in each row, `base`, the hash, and
    `truncated`, the share of distinct training texts longer than the model's length.
    """

    examples = (
        {"name": "text", "tuning": {"kind": "LastLayers", "count": 1}},
        {"name": "title", "template": "{title}. {genres}", "tuning": "Frozen", "width": 8},
    )

    encoder: TextEncoder = Package()
    """The language model, with local weights, such as `HuggingFace` or `Package`."""
    tuning: Tuning = LoRA()
    """Which of its parameters are trained."""
    learning_rate: float = Field(default=1e-4, gt=0)
    """Peak learning rate of the language model, on the common schedule; usually at most a tenth of the common rate."""
    checkpointing: bool = False
    """Set to recompute activations in the backward pass, for a third more time and a fraction of the memory."""
    states: Literal["float32", "float16"] = "float32"
    """Precision of the cached states of frozen layers on disk, a vector of the model's width per token."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not hasattr(self.encoder, "loaded"):
            kind = type(self.encoder).__name__
            raise ValueError(
                f"a {kind} cannot be tuned: its weights are not local. Use HuggingFace, Package, or a Text feature"
            )
        return self

    def fit(self, values: pl.DataFrame) -> State:
        texts = [text for text in self.render(values).unique().to_list() if text]
        complete = self._tokens(texts, cut=False)
        truncated = float(np.mean([len(tokens) > self._loaded.max_length for tokens in complete])) if texts else 0.0
        reader = TunableTransformer(self._loaded, Frozen())
        vectors = reader(self._tokens(sorted(texts, key=_digest)[:_SAMPLE] or ["empty"])).numpy()
        scaled = PostProcessing(method="scale").fit(vectors)
        return scaled.with_columns(base=pl.lit(reader.content), truncated=pl.lit(truncated))

    def encode(self, values: pl.DataFrame, state: State) -> Lookup:
        distinct, index_N = numbered(self.render(values))
        tokens = self._tokens(distinct.to_list())
        lengths = torch.tensor([0, *(len(numbers_L) for numbers_L in tokens)])
        flat = torch.cat([*tokens, torch.zeros(0, dtype=torch.int32)])
        return Lookup(Ragged(flat, lengths.cumsum(0)), index_N)

    def build(self, state: State) -> Encoder:
        half = self.states == "float16"
        transformer = TunableTransformer(self._loaded, self.tuning, self.checkpointing, half)
        if transformer.content != state["base"][0]:
            raise UserError(
                f"language model of the feature {self.name!r}",
                expected=f"the model that it was trained on, with the content hash {state['base'][0][:12]}…",
                found=f"a model with the content hash {transformer.content[:12]}…",
                remedy="Install the model it was trained on, or fit again.",
            )
        return LanguageModelEncoder(transformer, state, self.width, self.learning_rate)

    def export_obstacle(self, features: Mapping[str, Feature]) -> ExportObstacle:
        return ExportObstacle(
            expected="a feature of numbers",
            found="a language model, which reads tokens and whose frozen weights are not in the artifact",
            remedy="Declare a frozen Text, whose vectors are an input, or serve the model with polyrec.",
        )

    def describe(self, state: State) -> dict[str, Any]:
        return {"truncated": state["truncated"][0]}

    @property
    def _loaded(self) -> Any:
        """Model, tokenizer and settings of the encoder; the model is shared and never changed."""
        encoder: Any = self.encoder
        return encoder.loaded()

    def _tokens(self, texts: Sequence[str], cut: bool = True) -> list[Tensor]:
        """Return the token numbers (L,) of each text; an empty tensor for an empty text."""
        full = [text for text in texts if text]
        if not full:
            return [torch.zeros(0, dtype=torch.int32) for _ in texts]
        loaded = self._loaded
        prompted = [loaded.prompt + text for text in full]
        options = {"truncation": True, "max_length": loaded.max_length} if cut else {"truncation": False}
        prepared = [text.lower() for text in prompted] if loaded.lower else prompted
        numbered = iter(loaded.tokenizer(prepared, verbose=False, **options)["input_ids"])
        return [torch.tensor(next(numbered) if text else [], dtype=torch.int32) for text in texts]


class LanguageModelEncoder(Encoder):
    """A partly trained language model and a linear layer. Maps token numbers of distinct texts to (B, width)."""

    reads_repeated = True

    def __init__(self, transformer: TunableTransformer, state: State, width: int, learning_rate: float) -> None:
        super().__init__()
        self.transformer, self.learning_rate = transformer, learning_rate
        self.register_buffer("mean_D", state["mean"].to_torch().float(), persistent=False)
        self.scale = float(state["scale"][0])
        self.linear = nn.Linear(len(state) + 1, width)

    def forward(self, values: Input) -> Tensor:
        assert isinstance(values, Repeated) and isinstance(values.elements, Bag)
        bag = values.elements
        texts = bag.values.tensor_split(bag.offsets_B[1:].tolist()) if len(bag.offsets_B) else ()
        full = torch.tensor([len(text) > 0 for text in texts], dtype=torch.bool)
        vectors_UD = (self.transformer([text for text in texts if len(text)]) - self.get_buffer("mean_D")) / self.scale
        inputs = torch.zeros(len(texts), vectors_UD.shape[1] + 1)
        inputs[:, -1] = (~full).float()
        inputs = torch.cat([inputs[:, :-1].masked_scatter(full[:, None], vectors_UD), inputs[:, -1:]], 1)
        return self.linear(inputs)[values.index_B.long()]

    def rates(self) -> Rates:
        parameters = list(self.transformer.parameters())
        return [(self.learning_rate, parameters)] if parameters else []


def _digest(text: str) -> bytes:
    """Return a sort key that orders texts pseudorandomly but reproducibly."""
    return hashlib.sha256(text.encode()).digest()
