"""Running jobs in parallel processes, each job once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from pathlib import Path
from threading import Event

from polyrec.compare.fits.job import RESULT_FILE, Job

_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS"), "1")


class Pool:
    """Runs each job in a new process with one thread and stores its result in a folder under its key.

    Jobs whose results are in the folder are not run again. A failed job leaves no result; the next call repeats it.
    """

    def __init__(self, folder: Path, parallel: int) -> None:
        self.folder, self.parallel = folder, parallel
        self.done: list[str] = []
        """Keys of the jobs that this pool ran, including failed ones."""
        self.errors: dict[str, str] = {}
        """Error messages by key."""

    def path(self, job: Job) -> Path:
        """Return the folder of a job's result."""
        return self.folder / job.key

    def run(self, jobs: Sequence[Job], advance: Callable[[], None]) -> None:
        """Run the jobs without results, each once; call `advance` for every job, including those that have results."""
        by_key = {job.key: job for job in jobs}
        waiting = {key: job for key, job in by_key.items() if not (self.folder / key / RESULT_FILE).is_file()}
        for _ in range(len(jobs) - len(waiting)):
            advance()
        stop = Event()
        with ThreadPoolExecutor(max_workers=self.parallel) as threads:
            futures = {threads.submit(_run, job, self.folder / key, stop): key for key, job in waiting.items()}
            try:
                for future in as_completed(futures):
                    key, error = futures[future], future.result()
                    self.done.append(key)
                    self.errors.pop(key, None)
                    if error is not None:
                        self.errors[key] = error
                    advance()
            finally:
                stop.set()
                threads.shutdown(cancel_futures=True)


def _run(job: Job, folder: Path, stop: Event) -> str | None:
    """Run a job in a process and return its error message, if any."""
    command = [sys.executable, "-m", "polyrec.compare.fits.worker"]
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=output,
            env={**os.environ, **_ONE_THREAD},
            text=True,
        )
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps({"job": job.document(), "folder": str(folder)}) + "\n")
            process.stdin.flush()
            while process.poll() is None and not stop.wait(0.02):
                pass
        except BrokenPipeError:
            pass
        finally:
            if stop.is_set():
                process.kill()
            code = process.wait()
            with suppress(BrokenPipeError):
                process.stdin.close()
        output.seek(0)
        return None if code == 0 else _error(output.read(), code)


def _error(output: str, code: int) -> str:
    """Return the message on the last line of standard error, or how the process ended."""
    lines = [line for line in output.splitlines() if line.strip()]
    try:
        return str(json.loads(lines[-1])["error"])
    except (IndexError, ValueError, TypeError, KeyError):
        ending = f"the process was ended by signal {-code}" if code < 0 else f"the process ended with code {code}"
        return f"{ending}: {lines[-1]}" if lines else ending
