"""SemanticIds: a text as a short sequence of codes, from coarse to fine.

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
    """The codes of a text's vector: an id that similar items share in part, with embedding rows per code.

    The vector of a language model, processed as for a `Text`, is quantised level by level: the first code is the nearest of
    `codes` cluster means, the next the nearest to the residual (residual k-means, fitted on the distinct training texts).
    Output: `sum_l table_l[code_l]`, (B, width). A `Text` maps its vector by one linear layer; here the table can learn any
    property of a group of items. Unlike with an id, an unseen item shares the groups of similar items. Singh et al. (RecSys
    2024) replace ids in ranking by such codes. A blank text has number 0 at every level, and code c has number c + 1.

    With `prefix_rows`, a level is looked up together with all levels before it, as in the prefix n-grams of Zheng et al.
    (RecSys 2025): the meaning of a code then depends on the codes before it. With `key`, an additional code distinguishes items
    that share all codes, as in TIGER (Rajput et al., NeurIPS 2023): 0 for the first of them, 1 for the next; an unseen item
    has 0. State, one row of packed frames: `text`, the state of a `Text`; `codebooks`: `level`, `code`, `vector`;
    `twins`: `key` and `code` of the items whose last code is not 0; `figures`, the result of `describe`.
    """

    examples = (
        {"name": "semantic_id", "template": "{title}. {genres}"},
        {"name": "title", "levels": 2, "codes": 16, "prefix_rows": 100, "key": "item_id", "width": 8},
    )

    post: PostProcessing = PostProcessing(method="components", width=32)
    """Post-processing of the vectors before quantisation. In many dimensions nearly all vectors are equally distant, and
    clusters of residuals hold one outlier each; a few principal components distinguish more items."""
    levels: int = Field(default=3, ge=1)
    """Number of codes per text, without the additional code of `key`."""
    codes: int = Field(default=256, ge=2)
    """Number of codes per level; fewer if the training texts have fewer distinct residuals."""
    prefix_rows: int | None = Field(default=None, ge=1, lt=2**31)
    """Embedding rows of each level but the first, if a level is looked up together with those before it. If there are more
    combinations than rows, they share rows by a hash. Unset: each code is looked up by itself."""
    key: str | None = None
    """Column of the item's key, if an additional code shall distinguish items that share all codes."""
    seed: int = Field(default=0, ge=0, lt=2**31)
    """Seed of the initial cluster means of k-means."""

    @model_validator(mode="after")
    def _check_text(self) -> Self:
        if self.key is not None and self.key in self.text.columns:
            raise ValueError(f"feature {self.name!r} also reads the key {self.key!r} as text; remove it from the template")
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
        values = values[self.render(values).arg_sort()]  # so that the state does not depend on the order of rows
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
        keys = values[self.key].cast(twins["key"].dtype, strict=False).alias("key").to_frame()
        last_N = keys.join(twins, on="key", how="left", maintain_order="left")["code"].fill_null(0).to_numpy() + 1
        lasts = self.sizes(state)[-1]
        pairs_U, index_N = np.unique(vectors.index_N.numpy().astype(np.int64) * lasts + last_N, return_inverse=True)
        complete_UL = np.column_stack([numbers_UL[pairs_U // lasts], pairs_U % lasts]).astype(np.int32)
        return Indexed(torch.from_numpy(complete_UL), torch.from_numpy(index_N.astype(np.int32)))

    def build(self, state: State) -> Encoder:
        return CodesEncoder(self.sizes(state), self.width, self.prefix_rows)

    def sizes(self, state: State) -> tuple[int, ...]:
        """Return the count of numbers of each level: one more than its codes."""
        sizes = tuple(size + 1 for size in Codebooks.of_frame(unpack(state["codebooks"])).sizes)
        return sizes if self.key is None else (*sizes, int(unpack(state["twins"])["code"].to_numpy().max(initial=0)) + 2)

    def describe(self, state: State) -> dict[str, Any]:
        """Return statistics of the codes of the distinct training texts, as JSON values.

        `texts`, their number; `collision_rate`, the share of texts that share all codes with another; `items_told_apart`, the
        number of items whose last code is not 0; and for each of the `levels` the codes `used`, `utilisation`, `perplexity`,
        the share `colliding` up to this level, and the share of the vectors' variance `unexplained` up to this level.
        """
        (figures,) = state["figures"].to_list()
        return figures

    def _twins(self, keys: pl.Series, numbers_NL: np.ndarray) -> pl.DataFrame:
        """Return `key` and last `code` of the items that share all codes with an item of a lower key."""
        levels = [f"level {level}" for level in range(numbers_NL.shape[1])]
        rows = pl.DataFrame({"key": keys} | dict(zip(levels, numbers_NL.T, strict=True))).drop_nulls("key")
        items = rows.sort("key", *levels).unique("key", keep="first", maintain_order=True)
        twins = items.select("key", code=pl.Series(twin_numbers(items.select(levels).to_numpy())))
        return twins.filter(pl.col("code") > 0)

    def _figures(self, codebooks: Codebooks, known_UD: np.ndarray, codes_UL: np.ndarray, twins: pl.DataFrame) -> dict[str, Any]:
        levels: list[dict[str, float]] = []
        if len(known_UD):
            shares = codebooks.unexplained(known_UD)
            levels = [{**level, "unexplained": share} for level, share in zip(usage(codes_UL, self.codes), shares, strict=True)]
        rate = levels[-1]["colliding"] if levels else 0.0
        return {"texts": len(known_UD), "collision_rate": rate, "items_told_apart": len(twins), "levels": levels}


def _numbers(table_U: Tensor, codebooks: Codebooks) -> np.ndarray:
    """Return the level numbers (U, L) of vectors whose last column flags blank texts."""
    is_blank_U1 = table_U[:, -1:].numpy() > 0
    return np.where(is_blank_U1, 0, codebooks.encode(table_U[:, :-1].numpy()) + 1).astype(np.int32)


class CodesEncoder(Encoder):
    """An embedding table whose rows are summed over levels. Maps the level numbers (B, L) of each row to (B, width).

    With `prefix_rows` a level's row is that of the path down to it: exact if there are enough rows for all paths, else a hash.
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
        """Return the embedding rows to look up, (B, L)."""
        start, paths, path_B, levels = 0, 1, torch.zeros_like(numbers_BL[:, 0]), []
        for level, (size, rows) in enumerate(zip(self.sizes, self.rows, strict=True)):
            paths *= size
            path_B = (path_B * size + numbers_BL[:, level]) % _PRIME
            if self.prefix_rows is None:
                row_B = numbers_BL[:, level]
            else:
                row_B = path_B if paths <= rows else path_B * _MULTIPLIER % 2**32 * rows // 2**32
            levels.append(row_B + start)
            start += rows
        return torch.stack(levels, 1)


_PRIME, _MULTIPLIER = 2**31 - 1, 2654435761
"""Modulus of paths, which keeps products within 64 bits, and Knuth's multiplier, 2^32 divided by the golden ratio."""
