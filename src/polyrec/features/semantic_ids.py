"""SemanticIds: a text as a few codes, from coarse to fine.

Shape letters: N rows, U distinct texts, D vector width, B rows, L levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import polars as pl
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from polyrec.core.batch import Indexed, Input
from polyrec.core.frames import pack, unpack
from polyrec.features.feature import Encoder, State
from polyrec.features.text import Text
from polyrec.language.post_processing import PostProcessing
from polyrec.language.semantic_ids import Codebooks, fit_codebooks, twin_numbers, usage
from polyrec.layers.shared_table import FIRST_DEVIATION


class SemanticIds(Text):
    """The codes of a text's vector: an id that alike items share in part, with learned embeddings of its own.

    The vector of a language model (a `Text`'s, processed alike) is quantised level by level: the first code is the nearest of
    `codes` cluster means, the next the nearest to what is left over (residual k-means, fitted on the distinct training texts).
    Output: `sum_l table_l[code_l]`, (B, width). Unlike a `Text`, whose vector is mapped by one linear layer, the table can
    learn anything about a group of items; unlike an id, an item never met shares the groups of its like. Singh et al. (RecSys
    2024) replace ids in ranking by such codes. A text that is blank has number 0 at every level, code c number c + 1.

    With `prefix_rows`, a level is read together with all levels before it, as in the prefix n-grams of Zheng et al. (RecSys
    2025): a code then means something else below each of the codes before. With `key`, items that share all codes are
    told apart by one code more, as in TIGER (Rajput et al., NeurIPS 2023): 0 for the first of them, 1 for the next; an item
    never met has 0. State, one row of whole frames: `text`, the state of a `Text`; `codebooks`: `level`, `code`, `vector`;
    `twins`: `key` and `code` of the items whose last code is not 0; `figures`, what `describe` tells.
    """

    examples = (
        {"name": "semantic_id", "template": "{title}. {genres}"},
        {"name": "title", "levels": 2, "codes": 16, "prefix_rows": 100, "key": "item_id", "width": 8},
    )

    post: PostProcessing = PostProcessing(method="components", width=32)
    """What is done to the vectors before they are quantised. In many directions nearly all of them are equally far from one
    another, and the clusters of what is left over hold an outlier each: a few components tell more items apart."""
    levels: int = Field(default=3, ge=1)
    """How many codes a text has, without the one that tells items apart."""
    codes: int = Field(default=256, ge=2)
    """Codes of a level; fewer where the training texts leave fewer differences."""
    prefix_rows: int | None = Field(default=None, ge=1, lt=2**31)
    """Rows of the table of each level but the first, where a level is read together with those before it; combinations share
    rows by a hash where there are more of them. Unset, a code is read by itself."""
    key: str | None = None
    """Column of the item's key, where items that share all codes are to be told apart by one code more."""
    seed: int = Field(default=0, ge=0, lt=2**31)
    """Which clusters are found: another seed starts k-means elsewhere."""

    @model_validator(mode="after")
    def _check_text(self) -> Self:
        if self.key is not None and self.key in self.text.columns:
            raise ValueError(f"feature {self.name!r} reads the key {self.key!r} as text, too; leave it out of the template")
        return self

    @property
    def text(self) -> Text:
        """The text whose vectors are quantised."""
        return Text(**{name: getattr(self, name) for name in Text.model_fields})

    @property
    def columns(self) -> tuple[str, ...]:
        columns = self.text.columns
        return columns if self.key is None else (*columns, self.key)

    def render(self, values: pl.DataFrame) -> pl.Series:
        return self.text.render(values)

    def fit(self, values: pl.DataFrame) -> State:
        values = values[self.render(values).arg_sort()]  # so that what is learned does not depend on the order of rows
        text_state = self.text.fit(values)
        vectors = self.text.encode(values, text_state)
        known_UD = vectors.table_U[vectors.table_U[:, -1] == 0, :-1].numpy()
        codebooks = fit_codebooks(
            known_UD if len(known_UD) else vectors.table_U[:1, :-1].numpy(), self.levels, self.codes, self.seed
        )
        codes_UL = _numbers(vectors.table_U, codebooks)
        twins = pl.DataFrame() if self.key is None else self._twins(values[self.key], codes_UL[vectors.index_N.numpy()])
        figures = self._figures(codebooks, known_UD, codes_UL[codes_UL[:, 0] > 0] - 1, twins)
        packed = {"text": pack(text_state), "codebooks": pack(codebooks.to_frame()), "twins": pack(twins)}
        return pl.DataFrame({**packed, "figures": [figures]})

    def encode(self, values: pl.DataFrame, state: State) -> Indexed:
        vectors = self.text.encode(values, unpack(state["text"]))
        numbers_UL = _numbers(vectors.table_U, Codebooks.of_frame(unpack(state["codebooks"])))
        if self.key is None:
            return Indexed(torch.from_numpy(numbers_UL), vectors.index_N)
        twins = unpack(state["twins"])
        asked = values[self.key].cast(twins["key"].dtype, strict=False).alias("key").to_frame()
        last_N = asked.join(twins, on="key", how="left", maintain_order="left")["code"].fill_null(0).to_numpy() + 1
        lasts = self.sizes(state)[-1]
        pairs_U, index_N = np.unique(vectors.index_N.numpy().astype(np.int64) * lasts + last_N, return_inverse=True)
        told_UL = np.column_stack([numbers_UL[pairs_U // lasts], pairs_U % lasts]).astype(np.int32)
        return Indexed(torch.from_numpy(told_UL), torch.from_numpy(index_N.astype(np.int32)))

    def build(self, state: State) -> Encoder:
        return CodesEncoder(self.sizes(state), self.width, self.prefix_rows)

    def sizes(self, state: State) -> tuple[int, ...]:
        """Return how many numbers each level has: one more than codes."""
        sizes = tuple(size + 1 for size in Codebooks.of_frame(unpack(state["codebooks"])).sizes)
        return sizes if self.key is None else (*sizes, int(unpack(state["twins"])["code"].to_numpy().max(initial=0)) + 2)

    def describe(self, state: State) -> dict[str, Any]:
        """Return figures of the codes of the distinct training texts, to be printed or written as JSON.

        `texts`; `collision_rate`, the share of them whose codes are another's, too; `items_told_apart` by a last code that is
        not 0; and for each of the `levels` the codes `used`, `utilisation`, `perplexity`, the share `colliding` so far, and the
        share of the vectors' variance `unexplained` so far.
        """
        (figures,) = state["figures"].to_list()
        return figures

    def _twins(self, keys: pl.Series, numbers_NL: np.ndarray) -> pl.DataFrame:
        """Return `key` and last `code` of the items that share all codes with one of a lower key."""
        levels = [f"level {level}" for level in range(numbers_NL.shape[1])]
        rows = pl.DataFrame({"key": keys} | dict(zip(levels, numbers_NL.T, strict=True))).drop_nulls("key")
        items = rows.sort("key", *levels).unique("key", keep="first", maintain_order=True)
        twins = items.select("key", code=pl.Series(twin_numbers(items.select(levels).to_numpy())))
        return twins.filter(pl.col("code") > 0)

    def _figures(self, codebooks: Codebooks, known_UD: np.ndarray, codes_UL: np.ndarray, twins: pl.DataFrame) -> dict[str, Any]:
        levels: list[dict[str, float]] = []
        if len(known_UD):
            left = codebooks.unexplained(known_UD)
            levels = [
                {**figures, "unexplained": share} for figures, share in zip(usage(codes_UL, self.codes), left, strict=True)
            ]
        rate = levels[-1]["colliding"] if levels else 0.0
        return {"texts": len(known_UD), "collision_rate": rate, "items_told_apart": len(twins), "levels": levels}


def _numbers(table_U: Tensor, codebooks: Codebooks) -> np.ndarray:
    """Return the numbers (U, L) of the levels for vectors beside a flag of blanks."""
    is_blank_U1 = table_U[:, -1:].numpy() > 0
    return np.where(is_blank_U1, 0, codebooks.encode(table_U[:, :-1].numpy()) + 1).astype(np.int32)


class CodesEncoder(Encoder):
    """A learned table whose rows are summed over levels. Maps the numbers (B, L) of each row's levels to (B, width).

    With `prefix_rows` the number of a level is that of the path down to it: exact where all paths have rows, else a hash.
    """

    def __init__(self, sizes: Sequence[int], width: int, prefix_rows: int | None) -> None:
        super().__init__()
        self.sizes, self.prefix_rows = tuple(sizes), prefix_rows
        self.rows = [self.sizes[0]]
        paths = self.sizes[0]
        for size in self.sizes[1:]:
            paths *= size
            self.rows.append(size if prefix_rows is None else min(paths, prefix_rows))
        self.table = nn.Embedding(sum(self.rows), width)
        nn.init.normal_(self.table.weight, std=FIRST_DEVIATION)

    def forward(self, values: Input) -> Tensor:
        assert isinstance(values, Tensor)
        return self.table(self.numbered(values.long())).sum(1)

    def tables(self) -> list[nn.Embedding | nn.EmbeddingBag]:
        return [self.table]

    def numbered(self, numbers_BL: Tensor) -> Tensor:
        """Return the rows of the table for the numbers of each level, (B, L)."""
        start, paths, path_B, row_BL = 0, 1, torch.zeros_like(numbers_BL[:, 0]), []
        for level, (size, rows) in enumerate(zip(self.sizes, self.rows, strict=True)):
            paths *= size
            path_B = (path_B * size + numbers_BL[:, level]) % _PRIME
            if self.prefix_rows is None:
                row_B = numbers_BL[:, level]
            else:
                row_B = path_B if paths <= rows else path_B * _MULTIPLIER % 2**32 * rows // 2**32
            row_BL.append(row_B + start)
            start += rows
        return torch.stack(row_BL, 1)


_PRIME, _MULTIPLIER = 2**31 - 1, 2654435761
"""What paths are taken modulo, so that products stay within 64 bits; and Knuth's multiplier, 2^32 over the golden ratio."""
