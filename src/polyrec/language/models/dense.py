"""Linear layers after the pooling of some models, in the file format of sentence-transformers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from polyrec.core.errors import UserError
from polyrec.language.models.source import Source

_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "torch.nn.modules.linear.Identity": nn.Identity,
    "torch.nn.modules.activation.Tanh": nn.Tanh,
    "torch.nn.modules.activation.ReLU": nn.ReLU,
    "torch.nn.modules.activation.GELU": nn.GELU,
    "torch.nn.modules.activation.SiLU": nn.SiLU,
    "torch.nn.modules.activation.Sigmoid": nn.Sigmoid,
}
"""Activations by their names in configurations; a name is never imported."""

_OTHER = {"module_input_name": "sentence_embedding", "module_output_name": "sentence_embedding", "use_residual": False}


def read_dense(source: Source, folder: str) -> nn.Module:
    """Read one layer: `activation(W x + b)`.

    Raises `UserError` if the layer has another form or activation, or if its weights are missing.
    """
    config = source.read(f"{folder}/config.json") or {}
    activation = _ACTIVATIONS.get(config.get("activation_function", "torch.nn.modules.activation.Tanh"))
    if activation is None or any(config.get(key) not in (None, value) for key, value in _OTHER.items()):
        expected = f"W x + b under one of {', '.join(sorted(kind.__name__ for kind in _ACTIVATIONS.values()))}"
        raise _refused(source, folder, expected, f"{config}")
    weights = _weights(source, folder)
    linear = nn.Linear(config["in_features"], config["out_features"], bias=config.get("bias", True))
    try:
        linear.load_state_dict({name.removeprefix("linear."): weight.float() for name, weight in weights.items()})
    except RuntimeError as error:
        raise _refused(source, folder, "the weights that its configuration states", f"{error}") from error
    return nn.Sequential(linear, activation())


def _weights(source: Source, folder: str) -> dict[str, Tensor]:
    if (path := source.find(f"{folder}/model.safetensors")) is not None:
        from safetensors.torch import load_file

        return load_file(path)
    if (path := source.find(f"{folder}/pytorch_model.bin")) is not None:
        return torch.load(path, map_location="cpu", weights_only=True)
    raise _refused(source, folder, "its weights in model.safetensors or pytorch_model.bin", "neither")


def _refused(source: Source, folder: str, expected: str, found: str) -> UserError:
    remedy = "Name another model, or encode the texts with sentence-transformers and read them with Precomputed."
    return UserError(
        f"linear layer {folder!r} of the text encoder {source.name!r}", expected=expected, found=found, remedy=remedy
    )
