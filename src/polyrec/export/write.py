"""Writing a fitted recommender as ONNX or as a torch program, beside a page of JSON that says what goes in and comes out."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

import polyrec
from polyrec.core.batch import Batch
from polyrec.core.errors import UserError, missing_extra
from polyrec.core.files import replacing, write_text
from polyrec.core.names import FORMATS
from polyrec.export.inputs import BATCH, dynamic_shapes, flatten, shapes
from polyrec.export.module import ExportedModel
from polyrec.features.history import History
from polyrec.poolings.recurrent import Recurrent

if TYPE_CHECKING:
    from polyrec.fitted import Fitted

_MOST_BYTES = 2**31 - 1
"""Size of a protocol buffer, which an ONNX file is."""


def export(fitted: Fitted, path: Path, form: str) -> Path:
    """Do what `Fitted.export` says."""
    if form not in FORMATS:
        raise UserError("`format`", expected=" or ".join(map(repr, FORMATS)), found=repr(form), remedy="Choose one of them.")
    if form == "onnx" and not (find_spec("onnx") and find_spec("onnxscript")):
        raise missing_extra("onnxscript", "export", "export to ONNX")
    _check(fitted, form)
    module, batch = ExportedModel(fitted.parts, fitted.model), fitted.encoded(_two_rows(fitted))
    features = fitted.spec.all_features
    named, tensors = shapes(batch, features), flatten(batch, features)
    with torch.no_grad():
        outputs = module(tensors)
    try:
        program = _trace(module, tensors, named)
        with replacing(path) as temporary:
            if form == "torch":
                with temporary.open("wb") as file:
                    torch.export.save(program, file)
            else:
                _write_onnx(program, list(tensors), list(outputs), temporary)
    except (RuntimeError, torch.onnx.errors.OnnxExporterError) as error:
        remedy = "Serve it with polyrec, or choose other kinds."
        found = f"one that is not: {str(error).strip().splitlines()[0]}"
        raise UserError(f"export to {form}", expected="a model of operations that it knows", found=found, remedy=remedy) from error
    told = {
        "format": form,
        "polyrec": polyrec.__version__,
        "spec_sha256": hashlib.sha256(fitted.spec.to_yaml().encode()).hexdigest(),
        "inputs": [_port(name, tensors[name], shape) for name, shape in named.items()],
        "outputs": [_port(name, value, (BATCH, *value.shape[1:])) for name, value in outputs.items()],
    }
    write_text(path.with_name(path.name + ".json"), json.dumps(told, indent=1, ensure_ascii=False))
    return path


def _check(fitted: Fitted, form: str) -> None:
    """Refuse what depends on the values of a batch and not only on its shapes."""
    for feature in fitted.spec.all_features:
        if isinstance(feature, History) and isinstance(feature.pooling, Recurrent):
            found = "the pooling Recurrent, which steps over each history's own length"
            remedy = "Choose another pooling, such as SASRec or Mean, or serve the model with polyrec."
            thing = f"export to {form} of the feature {feature.name!r}"
            raise UserError(thing, expected="a pooling that is the same operations for every row", found=found, remedy=remedy)


def _two_rows(fitted: Fitted) -> Any:
    """Return a table of two rows of which nothing is known: what a model is traced with."""
    columns = fitted.parts.frames["columns"]
    return columns.drop(name for name in [fitted.roles.time] if name is not None).clear(2)


def _trace(module: ExportedModel, tensors: dict[str, Tensor], named: Mapping[str, tuple[str | int, ...]]) -> ExportedProgram:
    with torch.no_grad():
        return torch.export.export(module, (tensors,), dynamic_shapes=(dynamic_shapes(named),), strict=False)


def _write_onnx(program: ExportedProgram, inputs: list[str], outputs: list[str], path: Path) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*LeafSpec.* is deprecated", category=FutureWarning)
        found = torch.onnx.export(program, input_names=inputs, output_names=outputs, dynamo=True, verbose=False)
    assert found is not None
    found.save(path, external_data=False)


def _port(name: str, value: Tensor, shape: tuple[str | int, ...]) -> dict[str, Any]:
    return {"name": name, "dtype": str(value.dtype).removeprefix("torch."), "shape": list(shape)}
