"""Text to vectors: encoders, tunings, and language models behind a server."""

from polyrec.language.encoder import TextEncoder
from polyrec.language.encoders.embeddings_endpoint import EmbeddingsEndpoint
from polyrec.language.encoders.gguf import Gguf
from polyrec.language.encoders.hugging_face import HuggingFace
from polyrec.language.encoders.package import Package
from polyrec.language.encoders.precomputed import Precomputed
from polyrec.language.encoders.random_vectors import RandomVectors
from polyrec.language.encoders.shuffled import Shuffled
from polyrec.language.encoders.static_vectors import StaticVectors
from polyrec.language.encoders.tf_idf import TfIdf
from polyrec.language.endpoint.chat import Chat
from polyrec.language.post_processing import PostProcessing
from polyrec.language.tuning.frozen import Frozen
from polyrec.language.tuning.last_layers import LastLayers
from polyrec.language.tuning.lora import LoRA
from polyrec.language.tuning.tuning import Tuning

__all__ = [
    "Chat",
    "EmbeddingsEndpoint",
    "Frozen",
    "Gguf",
    "HuggingFace",
    "LastLayers",
    "LoRA",
    "Package",
    "PostProcessing",
    "Precomputed",
    "RandomVectors",
    "Shuffled",
    "StaticVectors",
    "TextEncoder",
    "TfIdf",
    "Tuning",
]
