"""One virtual environment for each peer, in the cache folder, built once for its requirements."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import platformdirs

CACHE = Path(os.environ.get("POLYREC_BENCHMARKS", Path(platformdirs.user_cache_dir("polyrec")) / "benchmarks"))
"""The folder of environments and generated data."""
TORCH = ("torch==2.13.0",)
REQUIREMENTS: dict[str, tuple[tuple[str, ...], ...]] = {
    "torch-rechub": (TORCH, ("torch-rechub==0.9.0", "pyarrow", *TORCH)),
    "deepctr-torch": (TORCH, ("deepctr-torch==0.3.0", "requests", "pandas", "pyarrow", *TORCH)),
    "fuxictr": (TORCH, ("fuxictr==2.3.10", "pyarrow", *TORCH)),
    "nextrec": (TORCH, ("nextrec==0.6.14", "pyarrow", *TORCH)),
    "keras": (("tensorflow-cpu", "keras"),),
}
"""What pip installs for a peer, one call of pip after the other: torch first, so that nothing fetches a CUDA build,
and again together with the peer, so that the peer's dependencies do not replace it."""
SHOWN = (
    "torch",
    "torch-rechub",
    "deepctr-torch",
    "fuxictr",
    "nextrec",
    "keras",
    "tensorflow-cpu",
    "tensorflow",
    "numpy",
    "pyarrow",
)


class InstallationError(Exception):
    """A peer's environment could not be built; the message is pip's last line."""


def interpreter(peer: str | None) -> Path:
    """Return the Python of a peer's environment, which is built if missing; the current Python without a peer."""
    if peer is None:
        return Path(sys.executable)
    steps = REQUIREMENTS[peer]
    key = hashlib.sha256(json.dumps([sys.version_info[:2], steps]).encode()).hexdigest()[:12]
    folder = CACHE / peer / key
    python, failed = folder / "bin" / "python", folder.with_name(f"{key}.failed")
    if (folder / "installed").exists():
        return python
    if failed.exists():
        raise InstallationError(f"{failed.read_text().strip()} (delete {failed} to try again)")
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True)
    with (folder / "pip.log").open("w") as log:
        for packages in steps:
            command = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar=off", *packages]
            if subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=False).returncode:
                lines = (folder / "pip.log").read_text().strip().splitlines()
                last = next((line for line in reversed(lines) if line.startswith("ERROR")), lines[-1])
                failed.write_text(last)
                raise InstallationError(last)
    (folder / "installed").touch()
    return python


def versions(python: Path) -> dict[str, str]:
    """Return the versions of the packages of interest in an environment."""
    ask = "import importlib.metadata as m, json; print(json.dumps([(d.name, d.version) for d in m.distributions()]))"
    told = subprocess.run([python, "-c", ask], capture_output=True, text=True, check=True)
    known = {name.lower().replace("_", "-"): version for name, version in json.loads(told.stdout)}
    return {"python": platform.python_version(), **{name: known[name] for name in SHOWN if name in known}}


if __name__ == "__main__":
    for name in sys.argv[1:] or REQUIREMENTS:
        try:
            print(name, interpreter(name), flush=True)
        except InstallationError as error:
            print(name, "not installed:", error, flush=True)
