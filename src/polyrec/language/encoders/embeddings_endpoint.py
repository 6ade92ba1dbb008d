"""EmbeddingsEndpoint: vectors from a server with OpenAI's protocol. Shape letters: N texts, D vector width."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import numpy as np
from pydantic import Field, JsonValue

from polyrec.language.encoder import TextEncoder
from polyrec.language.endpoint.connection import Connection
from polyrec.language.endpoint.endpoint import Endpoint


class EmbeddingsEndpoint(TextEncoder, Connection):
    """Vectors from `POST {url}/embeddings`: OpenAI, Ollama, vLLM, llama.cpp's server, text-embeddings-inference.

    Requests equal those of OpenAI's client. Vectors are ordered by their `index`; one that is missing, not finite or of another
    width raises an error. A blank text is not sent and has the vector 0. Pooling and truncation happen on the server.
    """

    examples = (
        {"url": "http://localhost:11434/v1", "model": "all-minilm"},
        {
            "url": "https://api.openai.com/v1",
            "model": "text-embedding-3-small",
            "key_variable": "OPENAI_API_KEY",
            "dimensions": 256,
        },
    )

    dimensions: int | None = Field(default=None, gt=0)
    """Requested width, for a model that can shorten its vectors (Matryoshka); unset, the full width."""
    prompt: str = ""
    """Text prepended to every text."""
    batch_size: int = Field(default=64, gt=0, le=2048)
    """Number of texts per request; it affects speed, not vectors."""
    encoding_format: Literal["base64", "float"] = "base64"
    """Requested format of the numbers: `base64` is a quarter of the size; `float` is for servers without it. Both are read."""

    def identity(self) -> Mapping[str, JsonValue]:
        """Return model, address, width and prompt: the same name may be a different model at another address."""
        return {"url": self.url, "model": self.model, "dimensions": self.dimensions, "prompt": self.prompt}

    def encode(self, texts: Sequence[str], on_done: Callable[[int], None] = lambda count: None) -> np.ndarray:
        """Return the vectors (N, D) in float32; raises `UserError` if all retries fail or the answer is invalid."""
        prompted = [self.prompt + text for text in texts]
        sent = [row for row, text in enumerate(prompted) if text.strip()]
        batches = [sent[start : start + self.batch_size] for start in range(0, len(sent), self.batch_size)]
        vectors_ND: np.ndarray | None = None
        with Endpoint(self) as endpoint:
            pool = ThreadPoolExecutor(self.in_flight)
            try:
                answers = pool.map(lambda rows: self._ask(endpoint, [prompted[row] for row in rows]), batches)
                for rows, answer in zip(batches, answers, strict=True):
                    if vectors_ND is None:
                        vectors_ND = np.zeros((len(texts), answer.shape[1]), dtype=np.float32)
                    if answer.shape[1] != vectors_ND.shape[1]:
                        raise self._width(endpoint, answer.shape[1], vectors_ND.shape[1])
                    vectors_ND[rows] = answer
                    on_done(len(rows))
            finally:
                pool.shutdown(cancel_futures=True)
            if vectors_ND is None:
                width = 0 if not texts else self.dimensions or self._ask(endpoint, ["."]).shape[1]
                vectors_ND = np.zeros((len(texts), width), dtype=np.float32)
        on_done(len(texts) - len(sent))
        return vectors_ND

    def _ask(self, endpoint: Endpoint, texts: list[str]) -> np.ndarray:
        """Return the vectors of one request, in the order of its texts."""
        body: dict[str, Any] = {"input": texts, "model": self.model, "encoding_format": self.encoding_format}
        if self.dimensions is not None:
            body["dimensions"] = self.dimensions
        data = endpoint.post("/embeddings", body).get("data")
        expected = f"one vector for each of {len(texts)} texts"
        if not isinstance(data, list) or not all(isinstance(entry, dict) for entry in data):
            raise endpoint.problem(expected, "no `data`", "Check that the model makes embeddings.")
        by_index = {entry.get("index"): entry.get("embedding") for entry in data}
        if len(data) != len(texts) or set(by_index) != set(range(len(texts))):
            found = f"{len(data)}, of {len(set(by_index) & set(range(len(texts))))} of the texts"
            raise endpoint.problem(expected, found, "Lower `batch_size`, or fix the server.")
        vectors = [_vector(by_index[row]) for row in range(len(texts))]
        for vector in vectors:
            if vector is None or vector.ndim != 1 or not vector.size:
                raise endpoint.problem("vectors of numbers", "something else", "Check that the model makes embeddings.")
            if not np.isfinite(vector).all():
                remedy = "Serve the model in a wider number format (float32, bfloat16)."
                raise endpoint.problem("finite numbers", "NaN or infinity in a vector", remedy)
            if vector.size != (self.dimensions or vectors[0].size):  # type: ignore[union-attr]
                raise self._width(endpoint, vector.size, self.dimensions or vectors[0].size)  # type: ignore[union-attr]
        return np.stack(vectors)  # type: ignore[arg-type]

    def _width(self, endpoint: Endpoint, width: int, expected: int) -> Exception:
        remedy = "Set `dimensions` to a width that the model supports, and serve a single model under this name."
        return endpoint.problem(f"vectors of {expected} numbers", f"one of {width}", remedy)


def _vector(embedding: Any) -> np.ndarray | None:
    """Decode an embedding from a list, or from the base64 of little-endian float32; return None if it is neither."""
    try:
        if isinstance(embedding, str):
            return np.frombuffer(base64.b64decode(embedding, validate=True), dtype="<f4").astype(np.float32)
        with np.errstate(over="ignore"):
            return np.array(embedding, dtype=np.float64).astype(np.float32)
    except (ValueError, TypeError):
        return None
