"""Text: a text of the row, encoded by a frozen language model. Shape letters: N rows, U distinct texts, D vector width."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import torch

from polyrec.core.batch import Indexed
from polyrec.core.frames import pack, unpack
from polyrec.features.feature import Encoder, State
from polyrec.features.numeric import LinearEncoder
from polyrec.features.text_feature import TextFeature, numbered
from polyrec.language.cache.counting import counting
from polyrec.language.encoder import TextEncoder
from polyrec.language.encoders.vectors import learn, vectors
from polyrec.language.post_processing import PostProcessing, effective_rank, mean_cosine, processed_width

_NOTHING = "nothing"
"""Replacement training text for an encoder that is fitted, if all training texts are blank."""


class Text(TextFeature):
    """A text about the row, encoded by a frozen language model and a trained linear adapter.

    The template is filled from the columns; white space is collapsed and control characters are removed. Each distinct text is
    encoded once, with a cache that persists between runs. The post-processing `post` is fitted on the distinct training texts.
    Then a linear layer maps (vector, 1 if empty) to (B, width). A text that is blank or all null has the vector 0. State:
    `post` and, for a fitted encoder, `learned`, each a packed frame; `mean_cosine` and `effective_rank` of the training texts'
    vectors before and after post-processing; `truncated`, the share of these texts that were truncated.
    """

    examples = ({"name": "text", "template": "{title}. {genres}"}, {"name": "title", "max_characters": 200})

    post: PostProcessing = PostProcessing()
    """Post-processing of the vectors."""

    def fit(self, values: pl.DataFrame) -> State:
        texts = self.render(values).unique(maintain_order=True)
        known = texts.filter(texts != "").to_list()
        learned = learn(self.encoder, known or [_NOTHING])
        with counting() as count:
            before = (
                vectors(self.encoder, known, learned) if known else np.zeros((1, _width(self.encoder, learned)), np.float32)
            )
        post = self.post.fit(before)
        after = self.post.apply(before, post)
        figures = {
            "mean_cosine": [[mean_cosine(before), mean_cosine(after)]],
            "effective_rank": [[effective_rank(before), effective_rank(after)]],
        }
        truncated = pl.lit(count.truncation_rate)
        return pl.DataFrame({"post": pack(post), "learned": pack(learned), **figures}).with_columns(truncated=truncated)

    def encode(self, values: pl.DataFrame, state: State) -> Indexed:
        distinct, index_N = numbered(self.render(values))
        known = (distinct != "").to_numpy()
        post = unpack(state["post"])
        table = np.zeros((len(distinct), processed_width(post) + 1), dtype=np.float32)
        table[~known, -1] = 1.0
        if known.any():
            raw = vectors(self.encoder, distinct.filter(pl.Series(known)).to_list(), unpack(state["learned"]))
            table[known, :-1] = self.post.apply(raw, post)
        return Indexed(torch.from_numpy(table), index_N)

    def build(self, state: State) -> Encoder:
        return LinearEncoder(processed_width(unpack(state["post"])) + 1, self.width)

    def describe(self, state: State) -> dict[str, Any]:
        names, stages = ("mean_cosine", "effective_rank"), ("raw", "processed")
        figures = {f"{name}_{stage}": state[name][0][position] for name in names for position, stage in enumerate(stages)}
        return {**figures, "truncated": state["truncated"][0]}


def _width(encoder: TextEncoder, learned: pl.DataFrame) -> int:
    return encoder.vector_width() if learned.width == 0 else vectors(encoder, [_NOTHING], learned).shape[1]
