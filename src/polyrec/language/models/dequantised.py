"""GGUF files as folders that transformers loads quickly: unpacked once, cached by the hash of the file."""

from __future__ import annotations

import importlib.util
import shutil
import tempfile
from functools import lru_cache
from pathlib import Path

import torch

from polyrec.core.cache import cache_folder
from polyrec.core.errors import UserError, missing_extra
from polyrec.core.files import sha256, sync

_FORMAT = 1
"""Part of every folder's name; increase it when the contents of the folder change."""


def dequantised_folder() -> Path:
    """Return the folder of all unpacked models."""
    return cache_folder() / "dequantised"


@lru_cache(maxsize=8)
def file_hash(path: Path) -> str:
    """Return the SHA-256 of a model file."""
    return sha256(path)


def dequantised(path: Path) -> Path:
    """Return the folder of a GGUF file's model in float32; unpack the file if the folder does not exist.

    transformers unpacks a GGUF file in Python at every load; the folder loads a hundred times as fast, with equal logits. It
    takes four bytes per weight, 538 MB for 135 million weights: a shorter type would lose bits of half of the numbers.
    Concurrent processes each write a complete folder, and one of them is kept.

    Raises `UserError` if transformers cannot read the file, or if the disk is full.
    """
    target = dequantised_folder() / f"{file_hash(path)}-{_FORMAT}"
    if target.is_dir():
        return target
    for package in ("transformers", "gguf", "accelerate"):
        if importlib.util.find_spec(package) is None:
            raise missing_extra(package, "language", "a GGUF file")
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".unpacking.", dir=target.parent))
    try:
        _unpack(path, temporary)
        for written in temporary.iterdir():
            sync(written)
        try:
            temporary.rename(target)
        except OSError:
            if not target.is_dir():
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def _unpack(path: Path, folder: Path) -> None:
    import transformers

    transformers.utils.logging.disable_progress_bar()
    try:
        place = {"pretrained_model_name_or_path": path.parent, "gguf_file": path.name}
        tokenizer = transformers.AutoTokenizer.from_pretrained(**place)
        model = transformers.AutoModelForCausalLM.from_pretrained(**place, dtype=torch.float32)
    except Exception as error:
        found = str(error).strip().partition("\n")[0] or type(error).__name__
        remedy = "Download the file again, or name the folder of the original model: HuggingFace(model=…)."
        expected = "a complete GGUF file of a model that transformers supports"
        raise UserError(f"GGUF file '{path}'", expected=expected, found=found, remedy=remedy) from error
    model.hf_quantizer = None
    del model.config.quantization_config
    try:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    except OSError as error:
        remedy = "Free disk space, or move the cache with POLYREC_CACHE."
        expected = f"disk space for {4 * model.num_parameters() / 1e6:,.0f} MB"
        raise UserError(f"unpacked models in '{folder.parent}'", expected=expected, found=f"{error}", remedy=remedy) from error
