"""Import every module of a package, so that a kind exists by virtue of its file."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable


def load_kinds(package: str, path: Iterable[str]) -> None:
    """Import all modules of a family's package: a new file there is known without being listed anywhere."""
    for module in pkgutil.iter_modules(path):
        importlib.import_module(f"{package}.{module.name}")
