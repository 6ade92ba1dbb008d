"""The driver's side of a worker: one process per arm, which answers repeated requests."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from speed.arms_table import Arm
from speed.environments import CACHE, interpreter

SPEED = Path(__file__).parent


class WorkerError(Exception):
    """A worker ended without an answer; the message contains its last line."""


class Worker:
    """A process that runs jobs of one arm, in the environment of its library and with a number of threads."""

    def __init__(self, name: str, arm: Arm, threads: int = 1) -> None:
        self.arm = arm
        self.python = interpreter(arm.peer)
        folder = CACHE / "logs"
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / f"{name}.log"
        counts = dict.fromkeys(
            ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS"), f"{threads}"
        )
        root = arm.checkout or SPEED.parents[1]
        path = os.pathsep.join([str(root / "benchmarks"), *([str(root / "src")] if arm.peer is None else [])])
        self.folder = tempfile.TemporaryDirectory(prefix="polyrec-speed-")
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [self.python, "-m", "speed.worker", arm.module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=self.folder.name,
                env={**os.environ, **counts, "PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": "", "KERAS_BACKEND": "tensorflow"},
            )

    def ask(self, run: str, job: dict[str, Any]) -> dict[str, Any]:
        """Run a job and return its answer; raise `WorkerError` if there is none."""
        assert self.process.stdin is not None and self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps({"run": run, "job": {**self.arm.options, **job}}) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            code = self.process.wait()
            said = self.log.read_text(errors="replace").strip().splitlines()
            raise WorkerError(f"ended with status {code}: {said[-1] if said else 'no output'} ({self.log})")
        return json.loads(line)

    def close(self) -> None:
        """End the process, if it has not ended already."""
        assert self.process.stdin is not None and self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.folder.cleanup()
