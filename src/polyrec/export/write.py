"""Export a fitted recommender as ONNX or as a torch program, with a JSON file that describes its inputs and outputs."""

from __future__ import annotations

import hashlib
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

import polyrec
from polyrec.core.errors import UserError, missing_extra, nearest
from polyrec.core.files import replacing, write_text
from polyrec.core.names import FORMATS
from polyrec.export.inputs import BATCH, NEW_ITEM, dynamic_shapes, flatten, shapes
from polyrec.export.module import ExportedModel
from polyrec.features.history import History
from polyrec.features.joint import Joint
from polyrec.features.language_model import LanguageModel
from polyrec.poolings.recurrent import Recurrent
from polyrec.predicting import lifts_new_items, rows_of_nothing

if TYPE_CHECKING:
    from polyrec.fitted import Fitted


def export(fitted: Fitted, path: Path, form: str) -> Path:
    """Write the export, as `Fitted.export` documents, and return its path."""
    if form not in FORMATS:
        remedy = nearest(form, FORMATS)
        raise UserError("`format`", expected=" or ".join(map(repr, FORMATS)), found=repr(form), remedy=remedy)
    _check(fitted, form)
    module, parts, features = ExportedModel(fitted.parts, fitted.model), fitted.parts, fitted.spec.all_features
    batch = rows_of_nothing(fitted.spec, parts.feature_states, parts.frames, fitted.roles.user, 2)
    named, tensors = shapes(batch, features), flatten(batch, features)
    if lifts_new_items(fitted.spec.tasks):
        named, tensors = named | {NEW_ITEM: (BATCH,)}, tensors | {NEW_ITEM: torch.tensor([False, True])}
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
    except (RuntimeError, ValueError, torch.onnx.OnnxExporterError) as error:
        found = f"another one: {str(error).strip().splitlines()[0]}"
        remedy = "Declare other kinds, or serve the model with polyrec."
        raise UserError(f"export to {form}", expected="supported operations", found=found, remedy=remedy) from error
    description = {
        "format": form,
        "polyrec": polyrec.__version__,
        "spec_sha256": hashlib.sha256(fitted.spec.to_yaml().encode()).hexdigest(),
        "inputs": [_port(name, tensors[name], shape) for name, shape in named.items()],
        "outputs": [_port(name, value, (BATCH, *value.shape[1:])) for name, value in outputs.items()],
    }
    write_text(path.with_name(path.name + ".json"), json.dumps(description, indent=1, ensure_ascii=False))
    return path


def _check(fitted: Fitted, form: str) -> None:
    """Raise if the computation depends on a batch's values and not only on its shapes, or if ONNX's packages are missing."""
    if form == "onnx":
        try:
            import onnxscript  # noqa: F401
        except ImportError as error:
            raise missing_extra("onnxscript", "export", "export to ONNX") from error
    if fitted.has_score and fitted.spec.fusion.compares_rows:
        thing, found = f"export to {form} of the fusion {type(fitted.spec.fusion).__name__}", "one that compares rows"
        raise UserError(thing, expected="a score of each row alone", found=found, remedy="Choose another, such as Add.")
    joints = {feature.name for feature in fitted.spec.all_features if isinstance(feature, Joint)}
    for feature in fitted.spec.all_features:
        if isinstance(feature, History) and feature.of in joints:
            found, remedy = f"the joint {feature.of!r}, an id and its content", "Serve the model with polyrec."
            thing = f"export to {form} of the feature {feature.name!r}"
            raise UserError(thing, expected="elements of one input", found=found, remedy=remedy)
        if isinstance(feature, LanguageModel):
            found = "a language model, which reads tokens and whose frozen weights are not in the artifact"
            remedy = "Declare a frozen Text, whose vectors are an input, or serve the model with polyrec."
            thing = f"export to {form} of the feature {feature.name!r}"
            raise UserError(thing, expected="a feature of numbers", found=found, remedy=remedy)
        if isinstance(feature, History) and isinstance(feature.pooling, Recurrent):
            found = "the pooling Recurrent, which steps over the length of each history"
            remedy = "Choose another pooling, such as SASRec or Mean, or serve the model with polyrec."
            thing = f"export to {form} of the feature {feature.name!r}"
            raise UserError(thing, expected="a pooling with the same operations for every row", found=found, remedy=remedy)


def _trace(module: ExportedModel, tensors: dict[str, Tensor], named: Mapping[str, tuple[str | int, ...]]) -> ExportedProgram:
    with torch.no_grad(), _quiet():
        return torch.export.export(module, (tensors,), dynamic_shapes=(dynamic_shapes(named),), strict=False)


def _write_onnx(program: ExportedProgram, inputs: list[str], outputs: list[str], path: Path) -> None:
    with _quiet():
        program = program.run_decompositions({torch.ops.aten.searchsorted.Tensor: _places})
        onnx = torch.onnx.export(program, input_names=inputs, output_names=outputs, dynamo=True, verbose=False)
        assert onnx is not None
        onnx.save(path, external_data=False)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence messages of the exporters: deprecations within torch, and an optional package that is not needed."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx._internal.exporter._registration", "onnxscript")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*LeafSpec.* is deprecated", category=FutureWarning)
        warnings.filterwarnings("ignore", message=".*_flat_weights.*were assigned during export", category=UserWarning)
        try:
            for logger in loggers:
                logger.setLevel(logging.ERROR)
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def _places(sorted_K: Tensor, values: Tensor, *, right: bool) -> Tensor:
    """Count the sorted numbers up to each value, like `torch.searchsorted(right=True)`, which has no ONNX operation."""
    assert right
    return (sorted_K <= values.unsqueeze(-1)).sum(-1)


def _port(name: str, value: Tensor, shape: tuple[str | int, ...]) -> dict[str, Any]:
    return {"name": name, "dtype": str(value.dtype).removeprefix("torch."), "shape": list(shape)}
