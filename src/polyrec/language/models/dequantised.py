"""GGUF files as folders that transformers loads at once: unpacked the first time, kept in the cache by their content."""

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
"""Part of every folder's name: raised when what is written into it changes."""


def dequantised_folder() -> Path:
    """Return the folder of all unpacked models."""
    return cache_folder() / "dequantised"


@lru_cache(maxsize=8)
def file_hash(path: Path) -> str:
    """Return the SHA-256 of a model file."""
    return sha256(path)


def dequantised(path: Path) -> Path:
    """Return the folder of a GGUF file's model in float32, written where it is not there yet.

    transformers unpacks a GGUF file in Python whenever it loads one; the folder loads a hundred times as fast, with equal
    logits. It takes four bytes a weight, 538 MB for 135 million of them: in a shorter type half of the numbers would lose bits.
    Processes that unpack at once each write a whole folder, and one remains.

    Raises `UserError` where transformers cannot read the file, and where the disk has no room.
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
        remedy = "Fetch the file again, or name the model's own folder: HuggingFace(model=…)."
        expected = "a whole GGUF file of a model that transformers knows"
        raise UserError(f"GGUF file '{path}'", expected=expected, found=found, remedy=remedy) from error
    model.hf_quantizer = None
    del model.config.quantization_config
    try:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    except OSError as error:
        remedy = "Make room, or move the cache with POLYREC_CACHE."
        expected = f"room for {4 * model.num_parameters() / 1e6:,.0f} MB"
        raise UserError(f"unpacked models in '{folder.parent}'", expected=expected, found=f"{error}", remedy=remedy) from error
