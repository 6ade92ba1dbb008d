"""One fit in a separate process: `python -m polyrec.compare.fits.worker` reads a job from the first line of its input.

The process exits when its standard input is closed and therefore never outlives the comparison that started it.

Shape letters: N test rows, C outputs of a task.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from polyrec.compare.fits.boosting import RATE, boost
from polyrec.compare.fits.job import PREDICTIONS_FILE, RESULT_FILE, Job
from polyrec.compare.fits.result import FitResult
from polyrec.compare.fits.tables import whole_state
from polyrec.core.errors import UserError
from polyrec.core.files import read_parquet, replacing_folder
from polyrec.recommender import Fitted
from polyrec.tasks.task import Task

_GATE_ROWS = 2000


def run(job: Job, folder: Path) -> None:
    """Run a job and write its result to a folder."""
    learn, test = read_parquet(job.learn), read_parquet(job.test)
    if job.boosted is None:
        result, predictions = _fit(job, learn, test)
    else:
        result, predictions = boost(job.spec, job.tasks[0], job.rate or RATE, learn, test)
    result = replace(result, peak_bytes=peak_bytes())
    with replacing_folder(folder) as temporary:
        (temporary / RESULT_FILE).write_text(json.dumps(result.to_dict()), encoding="utf-8")
        save_arrays(temporary / PREDICTIONS_FILE, predictions)


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays as float32 to an .npz file, which NumPy reads without pickle."""
    keywords: dict[str, Any] = {f"task.{name}": values.astype(np.float32) for name, values in arrays.items()}
    np.savez(path, **keywords)


def _fit(job: Job, learn: pl.DataFrame, test: pl.DataFrame) -> tuple[FitResult, dict[str, np.ndarray]]:
    started = time.process_time()
    fitted = job.spec.fit(learn, progress=False)
    seconds = time.process_time() - started
    training = fitted.parts.facts.training
    gates = fitted.gates(test.sample(min(test.height, _GATE_ROWS), seed=0))
    result = FitResult(
        utility=training.validation["utility"],
        best_epoch=training.best_epoch,
        epochs=len(training.curves),
        parameters=training.parameters,
        curves=[dict(epoch) for epoch in training.curves],
        gates={task: weights.mean(0).tolist() for task, weights in gates.items()},
        cpu_seconds=seconds,
    )
    tensors = fitted.predict_tensors(test)
    predictions = {task.name: _aligned(task, fitted, learn, tensors[task.name].numpy()) for task in job.spec.tasks}
    return result, predictions


def _aligned(task: Task, fitted: Fitted, learn: pl.DataFrame, prediction: np.ndarray) -> np.ndarray:
    """Return predictions with one output per class of the learning table; classes without training rows are zero."""
    names, all_names = task.names(fitted.parts.task_states[task.name]), task.names(whole_state(fitted.spec, task, learn))
    if names == all_names:
        return prediction
    aligned_NC = np.zeros((len(prediction), len(all_names)), dtype=prediction.dtype)
    aligned_NC[:, [all_names.index(name) for name in names]] = prediction
    return aligned_NC


def peak_bytes() -> int | None:
    """Return the peak memory of this process in bytes; None where the system does not report it.

    On Linux this is VmHWM, since `ru_maxrss` starts at the memory of the parent process.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        fields = dict(line.split(":", 1) for line in status.read_text(encoding="ascii").splitlines() if ":" in line)
        return int(fields["VmHWM"].split()[0]) * 1024
    try:
        import resource
    except ImportError:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _end_with_input() -> None:
    sys.stdin.read()
    os._exit(1)


def main() -> None:
    """Read a job and run it; an error is reported as JSON on the last line of standard error."""
    request = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_input, daemon=True).start()
    torch.set_num_threads(1)
    try:
        run(Job.from_document(request["job"]), Path(request["folder"]))
    except Exception as error:
        message = str(error) if isinstance(error, UserError | ImportError) else f"{type(error).__name__}: {error}"
        print(json.dumps({"error": message}), file=sys.stderr, flush=True)  # noqa: T201
        os._exit(1)
    os._exit(0)


if __name__ == "__main__":
    main()
