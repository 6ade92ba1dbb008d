"""Writing of a fitted recommender as ONNX or a torch program, with a JSON file that describes inputs and outputs."""

from __future__ import annotations

import hashlib
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from polyrec.core.errors import UserError, missing_extra, nearest
from polyrec.core.files import replacing, write_text
from polyrec.core.names import FORMATS
from polyrec.core.version import __version__
from polyrec.export.inputs import BATCH, NEW_ITEM, dynamic_shapes, flatten, shapes
from polyrec.export.module import ExportedModel
from polyrec.export.obstacles import refuse_obstacles
from polyrec.predict.outputs import lifts_new_items, rows_of_nothing
from polyrec.predict.predictor import Predictor


def export(fitted: Predictor, path: Path, form: str) -> Path:
    """Write a predictor for other runtimes; `Fitted.export` documents the parameters."""
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
        found = f"an unsupported operation: {str(error).strip().splitlines()[0]}"
        remedy = "Declare other features or layers, or serve the model with polyrec."
        raise UserError(
            f"export to {form}", expected="operations that the format supports", found=found, remedy=remedy
        ) from error
    document = {
        "format": form,
        "polyrec": __version__,
        "spec_sha256": hashlib.sha256(fitted.spec.to_yaml().encode()).hexdigest(),
        "inputs": [_port(name, tensors[name], shape) for name, shape in named.items()],
        "outputs": [_port(name, value, (BATCH, *value.shape[1:])) for name, value in outputs.items()],
    }
    write_text(path.with_name(path.name + ".json"), json.dumps(document, indent=1, ensure_ascii=False))
    return path


def _check(fitted: Predictor, form: str) -> None:
    """Refuse models that depend on values of other rows or on batch values, and ONNX if its packages are missing."""
    if form == "onnx":
        try:
            import onnxscript  # noqa: F401
        except ImportError as error:
            raise missing_extra("onnxscript", "export", "export to ONNX") from error
    if fitted.has_score and fitted.spec.fusion.compares_rows:
        thing, found = f"export to {form} of the fusion {type(fitted.spec.fusion).__name__}", "one that compares rows"
        raise UserError(thing, expected="a score of each row alone", found=found, remedy="Choose another fusion, such as Add.")
    refuse_obstacles(fitted.spec.all_features, f"export to {form}")


def _trace(module: ExportedModel, tensors: dict[str, Tensor], named: Mapping[str, tuple[str | int, ...]]) -> ExportedProgram:
    with torch.no_grad(), _quiet():
        return torch.export.export(module, (tensors,), dynamic_shapes=(dynamic_shapes(named),), strict=False)


def _write_onnx(program: ExportedProgram, inputs: list[str], outputs: list[str], path: Path) -> None:
    with _quiet():
        program = program.run_decompositions({torch.ops.aten.searchsorted.Tensor: _places})
        onnx_program = torch.onnx.export(program, input_names=inputs, output_names=outputs, dynamo=True, verbose=False)
        assert onnx_program is not None
        onnx_program.save(path, external_data=False)


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress messages of the exporters: deprecations within torch, and a missing package that is not needed."""
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
    """Compute `torch.searchsorted`, which ONNX lacks: the count of sorted numbers that are not greater than each value."""
    assert right
    return (sorted_K <= values.unsqueeze(-1)).sum(-1)


def _port(name: str, value: Tensor, shape: tuple[str | int, ...]) -> dict[str, Any]:
    return {"name": name, "dtype": str(value.dtype).removeprefix("torch."), "shape": list(shape)}
