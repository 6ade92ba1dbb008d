"""The child's side: `python -m speed.worker ARM` answers each line of JSON with a line of JSON.

    {"run": "train", "job": {...}}  ->  {"cpu_seconds": ..., "wall_seconds": ..., "samples": ..., "peak_mb": ...}

`run` names a function of the arm's module. What the arm prints goes to the standard error; only answers go to the output.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import sys

from speed.clock import peak_mb


def give_back() -> None:
    """Return freed memory to the machine, because the next arm may need it."""
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)


def main() -> None:
    """Answer until the input ends; an exception ends the process, with its message as the last line of its output."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    module = importlib.import_module(f"speed.arms.{sys.argv[1]}")
    for line in sys.stdin:
        asked = json.loads(line)
        told = getattr(module, asked["run"])(asked["job"])
        answers.write(json.dumps({**told, "peak_mb": round(peak_mb(), 1)}) + "\n")
        answers.flush()
        give_back()


if __name__ == "__main__":
    main()
