"""Base class of the encoders that are transformers. Shape letters: N texts, B texts of a batch, L tokens, H, D widths."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field, JsonValue
from torch import Tensor

from polyrec.core.errors import UserError
from polyrec.language.encoder import TextEncoder, check_texts
from polyrec.language.models.loaded import Described, Loaded, describe, load
from polyrec.language.models.pooling import POOLINGS
from polyrec.language.models.source import Source


class TransformerEncoder(TextEncoder, kind=False):
    """A transformer whose token states of the last layer are pooled under the attention mask.

    Texts are padded on the right, whatever the tokenizer's default: a model that numbers positions from the first cell would
    otherwise read a text shifted by its padding, and its vector would depend on the rest of the batch. If the model has the
    modules of sentence-transformers, their pooling, prompt, length, linear layers and normalisation apply, and vectors equal
    that library's. A blank text has the vector 0.
    """

    pooling: Literal["auto", "mean", "cls", "last", "weighted_mean", "max"] = "auto"
    """Pooling of token states to one vector: their mean, the first or last token, the mean weighted by position, or the maximum
    of each dimension. `auto` follows the model's modules; without them it is the last token of a causal model and the mean of
    any other."""
    prompt: str | None = None
    """Text prepended to every text; unset, the model's default prompt, if any."""
    max_length: int | None = Field(default=None, gt=0)
    """Maximum number of tokens of a text, including the prompt; unset, the limit in the model's configuration."""
    dimensions: int | None = Field(default=None, gt=0)
    """Number of leading dimensions kept, for Matryoshka models (Kusupati et al., 2022); vectors are normalised afterwards if
    the model normalises. Unset, all."""
    batch_tokens: int = Field(default=512, gt=0)
    """Number of tokens of a forward pass, including padding: texts of similar length share a batch, a longer text is read
    alone. It affects speed and memory, not vectors."""

    def source(self) -> Source:
        """Return the location of the model's files."""
        raise NotImplementedError

    def content(self) -> str:
        """Return an identifier of the model's weights."""
        return self.source().content()

    def identity(self) -> Mapping[str, JsonValue]:
        described = self.described()
        return {
            "model": self.content(),
            "pooling": described.pooling,
            "prompt": described.prompt,
            "max_length": described.max_length,
            "width": described.width,
            "precision": "float32",
        }

    def described(self) -> Described:
        """Return the model's settings without loading its weights; raises `UserError` for settings that it does not support."""
        described = describe(self.source())
        pooling = described.pooling if self.pooling == "auto" else self.pooling
        width = self.dimensions or described.width
        length = self.max_length or described.max_length
        if pooling not in POOLINGS:
            remedy = "Set `pooling`, or name another model."
            expected = "a model that is pooled by mean, cls, last token, weighted mean or maximum"
            raise self._refused(expected, f"the pooling {pooling!r} in its configuration", remedy)
        if width > described.width:
            expected = f"`dimensions` of at most {described.width}, the width of its vectors"
            raise self._refused(expected, f"{width}", "Lower `dimensions`, or leave it unset.")
        if length > described.positions:
            expected = f"a `max_length` of at most {described.positions} tokens, the number of its positions"
            raise self._refused(expected, f"{length}", "Lower `max_length`, or leave it unset.")
        prompt = described.prompt if self.prompt is None else self.prompt
        if prompt and (taken := len(_tokens(described.tokenizer, [prompt])["input_ids"][0])) >= length:
            expected = f"a prompt that leaves room for text within {length} tokens"
            raise self._refused(expected, f"a prompt of {taken} tokens", "Shorten the prompt, or raise `max_length`.")
        return described._replace(pooling=pooling, width=width, max_length=length, prompt=prompt)

    def loaded(self) -> Loaded:
        """Return the model with this encoder's settings, loaded once, shared and read-only."""
        described = self.described()
        model, dense = load(self.source())
        skipped = 0 if described.pools_prompt or not described.prompt else _prompt_tokens(described)
        return Loaded(
            model=model,
            tokenizer=described.tokenizer,
            width=described.width,
            positions=described.positions,
            max_length=described.max_length,
            pooling=described.pooling,
            normalise=described.normalise,
            prompt=described.prompt,
            skipped=skipped,
            lower=described.lower,
            dense=dense,
        )

    def vector_width(self) -> int:
        return self.described().width

    def truncated(self, texts: Sequence[str]) -> np.ndarray:
        described = self.described()
        tokens = _tokens(described.tokenizer, _prepared(described, texts))["input_ids"] if texts else []
        return np.array([len(ids) > described.max_length for ids in tokens], dtype=bool)

    def encode(self, texts: Sequence[str], on_done: Callable[[int], None] = lambda count: None) -> np.ndarray:
        check_texts(texts)
        rows = [row for row, text in enumerate(texts) if text.strip()]
        vectors = np.zeros((len(texts), self.vector_width()), dtype=np.float32)
        on_done(len(texts) - len(rows))
        if not rows:
            return vectors
        loaded = self.loaded()
        prepared = _prepared(loaded, [texts[row] for row in rows])
        tokens = _tokens(loaded.tokenizer, prepared, truncation=True, max_length=loaded.max_length)
        for places in _batches([len(ids) for ids in tokens["input_ids"]], self.batch_tokens):
            batch = _padded(loaded.tokenizer, tokens, places)
            if batch["attention_mask"].any():
                with torch.inference_mode():
                    states_BLH = loaded.model(**batch).last_hidden_state
                    vectors_BD = loaded.vectors(states_BLH, batch["attention_mask"])
                vectors[[rows[place] for place in places]] = vectors_BD.float().numpy()
            on_done(len(places))
        return vectors

    def _refused(self, expected: str, found: str, remedy: str) -> UserError:
        return UserError(f"text encoder {self.source().name!r}", expected=expected, found=found, remedy=remedy)


def _prepared(settings: Described | Loaded, texts: Sequence[str]) -> list[str]:
    prompted = [settings.prompt + text for text in texts]
    return [text.lower() for text in prompted] if settings.lower else prompted


def _tokens(tokenizer: Any, texts: Sequence[str], **options: Any) -> Mapping[str, list[list[int]]]:
    """Return the ids and the model's other inputs, one list per text, without padding."""
    return tokenizer(list(texts), padding=False, verbose=False, return_attention_mask=True, **options)


def _prompt_tokens(described: Described) -> int:
    """Return the number of tokens of the prompt, including leading special tokens and excluding trailing ones."""
    ids = _tokens(described.tokenizer, _prepared(described, [""]))["input_ids"][0]
    return len(ids) - (ids[-1] in described.tokenizer.all_special_ids)


def _batches(lengths: Sequence[int], most: int) -> Iterator[list[int]]:
    """Yield the positions of texts of similar length, the longest first, with at most `most` padded tokens a batch."""
    places = sorted(range(len(lengths)), key=lambda place: -lengths[place])
    start = 0
    while start < len(places):
        count = max(1, most // max(lengths[places[start]], 1))
        yield places[start : start + count]
        start += count


def _padded(tokenizer: Any, tokens: Mapping[str, list[list[int]]], places: Sequence[int]) -> dict[str, Tensor]:
    """Return the model inputs (B, L) of some texts, padded on the right."""
    fill = {"input_ids": tokenizer.pad_token_id, "token_type_ids": tokenizer.pad_token_type_id}
    longest = max(1, *[len(tokens["input_ids"][place]) for place in places])
    padded = {}
    for name, lists in tokens.items():
        cells = np.full((len(places), longest), fill.get(name, 0), dtype=np.int64)
        for row, place in enumerate(places):
            cells[row, : len(lists[place])] = lists[place]
        padded[name] = torch.from_numpy(cells)
    return padded
