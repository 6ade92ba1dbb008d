"""What a model says of its own pooling, length and normalisation, in the files of sentence-transformers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from polyrec.core.errors import UserError

_POOLINGS = {"mean_tokens": "mean", "cls_token": "cls", "lasttoken": "last", "max_tokens": "max"}
"""Our names for the poolings of sentence-transformers; one that has no name here keeps its own."""


class Stated(NamedTuple):
    """How a model wants to be used; `None` where it does not say."""

    pooling: str | None
    max_length: int | None
    normalise: bool


def read_stated(name: str, revision: str | None) -> Stated:
    """Read `modules.json` and the configurations that it names, from a folder or a hub.

    Raises `UserError` where the model ends in a module that is not built here: its vectors would be others than its authors'.
    """
    paths = {module["type"].rpartition(".")[2]: module["path"] for module in _read(name, revision, "modules.json") or []}
    unknown = sorted(set(paths) - {"Transformer", "Pooling", "Normalize"})
    if unknown:
        raise UserError(
            f"text encoder {name!r}",
            expected="a transformer, its pooling and, at most, a normalisation",
            found=f"the module {unknown[0]} in modules.json",
            remedy="Name another model, or encode the texts with sentence-transformers and declare a Vector.",
        )
    pooling = _read(name, revision, f"{paths['Pooling']}/config.json") if "Pooling" in paths else {}
    length = (_read(name, revision, "sentence_bert_config.json") or {}).get("max_seq_length")
    return Stated(_pooling(pooling or {}), length, "Normalize" in paths)


def is_causal(config: Any) -> bool:
    """Return whether each token sees only those before it: the kind of model says so, however its folder was saved."""
    from transformers.models.auto import modeling_auto

    kinds, masked = modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES
    return config.model_type in kinds and config.model_type not in masked and not config.is_encoder_decoder


def _pooling(config: dict[str, Any]) -> str | None:
    """Return the pooling of either layout: one key for the mode, or one key a mode that is true or false."""
    modes = config.get("pooling_mode")
    if modes is None:
        modes = [key.removeprefix("pooling_mode_") for key, chosen in config.items() if chosen is True and "_mode_" in key]
    names = [_POOLINGS.get(mode, mode) for mode in ([modes] if isinstance(modes, str) else modes)]
    return "+".join(names) or None


def _read(name: str, revision: str | None, file: str) -> Any:
    """Return the JSON in a file of the model, or `None` where the model has no such file.

    A file that the hub cannot be asked for is an `OSError`, not an absent one: else a model would be pooled in one way with a
    network and in another without.
    """
    if Path(name).is_dir():
        path = Path(name) / file
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    import huggingface_hub
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    try:
        found = huggingface_hub.hf_hub_download(name, file, revision=revision)
    except LocalEntryNotFoundError:
        if huggingface_hub.try_to_load_from_cache(name, file, revision=revision) is huggingface_hub._CACHED_NO_EXIST:
            return None
        raise
    except EntryNotFoundError:
        return None
    return json.loads(Path(found).read_text(encoding="utf-8"))
