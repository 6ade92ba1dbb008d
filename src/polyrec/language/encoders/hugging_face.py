"""HuggingFace: any encoder or causal language model, by name or folder."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from polyrec.core.errors import UserError
from polyrec.language.encoders.transformer import TransformerEncoder
from polyrec.language.models.source import Source, at_commit


class HuggingFace(TransformerEncoder):
    """A model that transformers loads from a local folder or, by name, from the hub.

    The token states of the last layer are pooled under the attention mask. Texts are padded on the right, whatever the
    tokenizer's default: a model that numbers positions from the first cell would otherwise read a text shifted by its padding,
    and its vector would depend on the rest of the batch. If the model has the modules of sentence-transformers, their pooling,
    prompt, length, linear layers and normalisation apply, and vectors equal that library's, except that a blank text has the
    vector 0. A name without `revision` is resolved to its current commit; after a change of the model, texts are encoded again.
    Code that comes with a model is never run.
    """

    examples = ({"model": "sentence-transformers/all-MiniLM-L6-v2"}, {"model": "gpt2", "pooling": "last", "prompt": "Item: "})

    model: str
    """Folder, or name on the hub."""
    revision: str | None = None
    """Commit or tag on the hub; unset, vectors change when the model does."""

    def source(self) -> Source:
        if Path(self.model).is_file():
            remedy = "Name its folder; a .gguf file is read by Gguf(path=…)."
            raise UserError(f"text encoder {self.model!r}", expected="a folder or a name", found="a file", remedy=remedy)
        return at_commit(self.model, self.revision)

    def pinned(self) -> Self:
        source = self.source()
        return self.replace(revision=source.revision)
