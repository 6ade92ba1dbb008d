"""LanguageModel: a text that a language model reads, and learns to read with the tasks.

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
"""Training texts over which vectors are centred and scaled."""


class LanguageModel(TextFeature):
    """A text about the row, through a language model that is trained jointly with the tasks.

    Alone, below a `SharedBottom` or experts, it is the network that all tasks share; beside other features it is one input of
    theirs. A row's text is rendered by the template as that of a `Text`, cut at the model's
    length, and read once a batch however many rows share it. Token states are pooled as the model wants to be, centred and
    divided by their deviation over some training texts as the untrained model reads them, and a linear layer maps
    (vector, 1 if empty) to (B, width). The tasks' losses train what `tuning` names, through whatever balances them.

    The artifact holds what was learned and the content hash of the model below it, not that model: loading wants the same
    model again and refuses another. State: `mean`, `scale`, one row a dimension, and, the same in each, `base`, the hash, and
    `truncated`, the share of distinct training texts that were longer than the model reads.
    """

    examples = (
        {"name": "text", "tuning": {"kind": "LastLayers", "count": 1}},
        {"name": "title", "template": "{title}. {genres}", "tuning": "Frozen", "width": 8},
    )

    encoder: TextEncoder = Package()
    """The language model: one whose weights are at hand, such as `HuggingFace` or `Package`."""
    tuning: Tuning = LoRA()
    """What of it is learned."""
    learning_rate: float = Field(default=1e-4, gt=0)
    """Highest step size of the language model's weights, on the schedule of the others; as a rule a tenth of theirs or less."""
    checkpointing: bool = False
    """Whether activations are computed anew in the backward pass, for a third more time and a fraction of the memory."""
    states: Literal["float32", "float16"] = "float32"
    """Precision in which the states of frozen layers are kept on disk: for each token as many numbers as the model is wide."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not hasattr(self.encoder, "loaded"):
            kind = type(self.encoder).__name__
            raise ValueError(
                f"a {kind} cannot be tuned: its weights are not at hand. Use HuggingFace, Package, or a Text feature"
            )
        return self

    def fit(self, values: pl.DataFrame) -> State:
        texts = [text for text in self.render(values).unique().to_list() if text]
        whole = self._tokens(texts, cut=False)
        truncated = float(np.mean([len(tokens) > self._loaded.max_length for tokens in whole])) if texts else 0.0
        reader = TunableTransformer(self._loaded, Frozen())
        vectors = reader(self._tokens(sorted(texts, key=_digest)[:_SAMPLE] or ["empty"])).numpy()
        scaled = PostProcessing(method="scale").fit(vectors)
        return scaled.with_columns(base=pl.lit(reader.content), truncated=pl.lit(truncated))

    def encode(self, values: pl.DataFrame, state: State) -> Lookup:
        distinct, index_N = numbered(self.render(values))
        tokens = self._tokens(distinct.to_list())
        lengths = torch.tensor([0, *(len(text) for text in tokens)])
        flat = torch.cat([*tokens, torch.zeros(0, dtype=torch.int32)])
        return Lookup(Ragged(flat, lengths.cumsum(0)), index_N)

    def build(self, state: State) -> Encoder:
        half = self.states == "float16"
        transformer = TunableTransformer(self._loaded, self.tuning, self.checkpointing, half)
        if transformer.content != state["base"][0]:
            raise UserError(
                f"language model of the feature {self.name!r}",
                expected=f"the one that it was trained on, of content {state['base'][0][:12]}…",
                found=f"one of content {transformer.content[:12]}…",
                remedy="Install the model it was trained on, or fit again.",
            )
        return LanguageModelEncoder(transformer, state, self.width, self.learning_rate)

    def export_obstacle(self, features: Mapping[str, Feature]) -> ExportObstacle:
        return ExportObstacle(
            expected="a feature of numbers",
            found="a language model, which reads tokens and whose frozen weights are no part of an artifact",
            remedy="Declare a frozen Text, whose vectors are an input, or serve the model with polyrec.",
        )

    def describe(self, state: State) -> dict[str, Any]:
        return {"truncated": state["truncated"][0]}

    @property
    def _loaded(self) -> Any:
        """Model, tokenizer and how the encoder reads them; the model is shared and never changed."""
        encoder: Any = self.encoder
        return encoder.loaded()

    def _tokens(self, texts: Sequence[str], cut: bool = True) -> list[Tensor]:
        """Return the token numbers (L,) of each text; none of an empty one."""
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
    """A language model, learned in part, and a linear layer. Maps token numbers of distinct texts to (B, width)."""

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
        learned = list(self.transformer.parameters())
        return [(self.learning_rate, learned)] if learned else []


def _digest(text: str) -> bytes:
    """Return what orders texts by chance, and always alike."""
    return hashlib.sha256(text.encode()).digest()
