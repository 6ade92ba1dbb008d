"""CPU and wall time of a stretch of code, and the peak memory of the process. Needs the standard library alone."""

from __future__ import annotations

import os
import resource
import sys
import time
from pathlib import Path
from typing import Any, Self


class Clock:
    """A stretch of code: `with Clock() as clock: ...`; then `cpu_seconds` and `wall_seconds`.

    CPU is user and system time of this process and of the children that it has waited for, such as a loader's workers.
    """

    def __enter__(self) -> Self:
        self._cpu, self._wall = sum(os.times()[:4]), time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.cpu_seconds, self.wall_seconds = sum(os.times()[:4]) - self._cpu, time.perf_counter() - self._wall

    def told(self, **more: Any) -> dict[str, Any]:
        """Return both times, and more, as an answer."""
        return {"cpu_seconds": self.cpu_seconds, "wall_seconds": self.wall_seconds, **more}


def peak_mb() -> float:
    """Return the most memory that this process has held, in MB.

    Linux's own high-water mark is read where there is one: `ru_maxrss` counts what the parent held at the start of a child.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 1024
