"""Models in memory, loaded once each. Shape letters: B texts, L tokens, H width of a state, D width of a vector."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from polyrec.core.errors import UserError, missing_extra
from polyrec.language.models.dense import read_dense
from polyrec.language.models.pooling import pool
from polyrec.language.models.source import Source, not_loaded
from polyrec.language.models.stated import is_causal, read_stated

UNBOUNDED = 2**31
"""Number of positions of a model without a position table."""

_FROM_PADDING = {"roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "mpnet", "longformer", "xmod", "data2vec-text"}
"""Model types whose position table starts after the id of the padding token."""


class Described(NamedTuple):
    """A model without its weights: its tokenizer and settings, from its files or from an encoder."""

    tokenizer: Any
    width: int
    positions: int
    max_length: int
    pooling: str
    normalise: bool
    prompt: str
    pools_prompt: bool
    lower: bool
    dense: tuple[str, ...]


class Loaded(NamedTuple):
    """A model with its settings. All callers share it, so it is read-only: copy the model before training it."""

    model: Any
    """Module that maps ids and mask to `last_hidden_state` (B, L, H)."""
    tokenizer: Any
    """Tokenizer that pads on the right, whatever its default."""
    width: int
    positions: int
    max_length: int
    pooling: str
    normalise: bool
    prompt: str
    skipped: int
    """Number of prompt tokens at the start that are not pooled."""
    lower: bool
    dense: nn.Module

    def vectors(self, states_BLH: Tensor, mask_BL: Tensor) -> Tensor:
        """Return the vectors (B, D) of token states: pooled, mapped by the linear layers, cut to `width`, normalised."""
        x_BD = self.dense(pool(states_BLH, mask_BL, self.pooling, self.skipped))[:, : self.width]
        return normalize(x_BD, dim=1) if self.normalise else x_BD


@lru_cache(maxsize=8)
def describe(source: Source) -> Described:
    """Read configuration and tokenizer. This takes a tenth of a second; the weights would take seconds."""
    transformers = _transformers()
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(source.name, revision=source.revision)
        stated = read_stated(source)
        config = transformers.AutoConfig.from_pretrained(source.name, revision=source.revision)
        layer = source.read(f"{stated.dense[-1]}/config.json") if stated.dense else {"out_features": config.hidden_size}
    except UserError:
        raise
    except (OSError, ValueError) as error:
        raise not_loaded(source.name, error) from error
    tokenizer.padding_side = "right"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.convert_ids_to_tokens(0)
    positions = getattr(config, "max_position_embeddings", None) or UNBOUNDED
    if config.model_type in _FROM_PADDING:
        positions -= config.pad_token_id + 1
    longest = min(tokenizer.model_max_length, 512 if positions == UNBOUNDED else positions)
    return Described(
        tokenizer,
        layer["out_features"],
        positions,
        min(stated.max_length or longest, positions),
        stated.pooling or ("last" if is_causal(config) else "mean"),
        stated.normalise,
        stated.prompt,
        stated.pools_prompt,
        stated.lower,
        stated.dense,
    )


@lru_cache(maxsize=2)
def load(source: Source) -> tuple[Any, nn.Module]:
    """Load the weights in float32; return the model, or its encoder if it has a decoder, and the layers after its pooling."""
    transformers = _transformers()
    try:
        model = transformers.AutoModel.from_pretrained(source.name, revision=source.revision, dtype=torch.float32)
        dense = nn.Sequential(*(read_dense(source, folder) for folder in read_stated(source).dense))
    except UserError:
        raise
    except (OSError, ValueError) as error:
        raise not_loaded(source.name, error) from error
    reader = model.get_encoder() if model.config.is_encoder_decoder else model
    return reader.eval(), dense.eval()


def _transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise missing_extra("transformers", "language", "a text encoder") from error
    transformers.utils.logging.disable_progress_bar()
    return transformers
