"""CPU and wall time of a block of code, and the peak memory of the process. Needs only the standard library."""

from __future__ import annotations

import os
import resource
import sys
import time
from pathlib import Path
from typing import Any, Self


class Clock:
    """A timed block of code: `with Clock() as clock: ...`; then `cpu_seconds` and `wall_seconds`.

    CPU time is user and system time of this process and of the children it has waited for, such as a loader's workers.
    With `tree` it includes all descendants alive at the end, such as Ray's processes.
    """

    def __init__(self, tree: bool = False) -> None:
        self.tree = tree

    def __enter__(self) -> Self:
        self._tree = _descendants() if self.tree else {}
        self._cpu, self._wall = cpu_seconds(), time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.cpu_seconds, self.wall_seconds = cpu_seconds() - self._cpu, time.perf_counter() - self._wall
        if self.tree:
            self.cpu_seconds += sum(spent - self._tree.get(number, 0.0) for number, spent in _descendants().items())

    def told(self, **more: Any) -> dict[str, Any]:
        """Return both times, and additional entries, as an answer."""
        return {"cpu_seconds": self.cpu_seconds, "wall_seconds": self.wall_seconds, **more}


def cpu_seconds() -> float:
    """Return user and system time of this process, to the microsecond, and of the children it has waited for."""
    times = os.times()
    return time.process_time() + times.children_user + times.children_system


def _descendants() -> dict[int, float]:
    """Return user and system time of each living descendant, by its number, and of the children it has waited for."""
    parents, spent = {}, {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        number = int(path.parent.name)
        parents[number], spent[number] = int(fields[1]), sum(int(field) for field in fields[11:15])
    found, new = set(), {os.getpid()}
    while new:
        new = {number for number, parent in parents.items() if parent in new}
        found |= new
    return {number: spent[number] / os.sysconf("SC_CLK_TCK") for number in found}


def peak_mb() -> float:
    """Return the peak memory of this process in MB.

    Linux's high-water mark is read if available: `ru_maxrss` includes the memory of the parent at the start of a child.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 1024
