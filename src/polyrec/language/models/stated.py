"""Settings that a model's files state in the format of sentence-transformers: pooling, length, prompt and last layers."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from polyrec.core.errors import UserError
from polyrec.language.models.source import Source

_POOLINGS = {
    "mean_tokens": "mean",
    "cls_token": "cls",
    "lasttoken": "last",
    "max_tokens": "max",
    "weightedmean_tokens": "weighted_mean",
    "weightedmean": "weighted_mean",
}
"""Names here of the poolings of sentence-transformers; other poolings keep their name."""

_BUILT = re.compile("Transformer( Pooling( Dense)*( Normalize)?)?")


class Stated(NamedTuple):
    """Settings of a model; `None` if its files do not state one."""

    pooling: str | None = None
    max_length: int | None = None
    normalise: bool = False
    prompt: str = ""
    """Default prompt."""
    pools_prompt: bool = True
    """Whether the tokens of the prompt are pooled with the others."""
    lower: bool = False
    """Whether texts are converted to lower case before the tokenizer."""
    dense: tuple[str, ...] = ()
    """Folders of the linear layers after the pooling."""


def read_stated(source: Source) -> Stated:
    """Read `modules.json` and the configurations that it names.

    Raises `UserError` if the model has a module that is not implemented here, because its vectors would differ from its
    authors'.
    """
    modules = [(module["type"].rpartition(".")[2], module["path"]) for module in source.read("modules.json") or []]
    names = " ".join(name for name, _ in modules)
    if modules and not _BUILT.fullmatch(names):
        raise UserError(
            f"text encoder {source.name!r}",
            expected="a transformer, its pooling and optionally linear layers and a normalisation",
            found=f"the modules {names} in modules.json",
            remedy="Name another model, or encode the texts with sentence-transformers and read them with Precomputed.",
        )
    paths = dict(modules)
    pooling = (source.read(f"{paths['Pooling']}/config.json") if "Pooling" in paths else None) or {}
    reading = source.read("sentence_bert_config.json") or {}
    prompts = source.read("config_sentence_transformers.json") or {}
    return Stated(
        pooling=_pooling(pooling),
        max_length=reading.get("max_seq_length"),
        normalise="Normalize" in paths,
        prompt=(prompts.get("prompts") or {}).get(prompts.get("default_prompt_name")) or "",
        pools_prompt=pooling.get("include_prompt", True),
        lower=bool(reading.get("do_lower_case")),
        dense=tuple(path for name, path in modules if name == "Dense"),
    )


def is_causal(config: Any) -> bool:
    """Return whether a model is causal, so that a token sees only preceding ones, judged by its type in the configuration."""
    from transformers.models.auto import modeling_auto

    kinds, masked = modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES
    return config.model_type in kinds and config.model_type not in masked and not config.is_encoder_decoder


def _pooling(config: dict[str, Any]) -> str | None:
    """Return the pooling of a configuration, which has one key for the mode or one boolean key per mode."""
    modes = config.get("pooling_mode")
    if modes is None:
        modes = [key.removeprefix("pooling_mode_") for key, chosen in config.items() if chosen is True and "_mode_" in key]
    names = [_POOLINGS.get(mode, mode) for mode in ([modes] if isinstance(modes, str) else modes)]
    return "+".join(names) or None
