"""Gguf: a causal language model from one quantised file."""

from __future__ import annotations

from pathlib import Path

from polyrec.core.errors import UserError
from polyrec.language.encoders.transformer import TransformerEncoder
from polyrec.language.models.dequantised import dequantised, file_hash
from polyrec.language.models.source import Source


class Gguf(TransformerEncoder):
    """A model in llama.cpp's file format, unpacked to float32 once and then read like a folder of `HuggingFace`.

    The weights are the dequantised ones. Activations stay in float32, whereas llama.cpp quantises them too. The unpacked model
    stays in the cache, with four bytes per weight; `polyrec cache` lists it.
    """

    examples = ({"path": "SmolLM2-135M-Instruct.Q4_1.gguf"}, {"path": "models", "pooling": "weighted_mean", "max_length": 64})

    path: str
    """The .gguf file, or a folder that contains exactly one."""

    def source(self) -> Source:
        return Source(str(dequantised(self.file())))

    def content(self) -> str:
        return file_hash(self.file())

    def file(self) -> Path:
        """Return the file."""
        place = Path(self.path)
        files = [place] if place.is_file() else sorted(place.glob("*.gguf"))
        if len(files) != 1:
            found = ", ".join(file.name for file in files) or ("none" if place.is_dir() else "no such file")
            remedy = "Name the file itself." if files else "Check the path."
            raise UserError(f"GGUF model '{place}'", expected="one .gguf file", found=found, remedy=remedy)
        return files[0].absolute()
