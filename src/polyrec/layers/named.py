"""Modules by names that users choose."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

from torch import nn

Kind = TypeVar("Kind", bound=nn.Module)


class Named(nn.Module, Generic[Kind]):
    """Mapping from names to modules that accepts any name; `nn.ModuleDict` rejects those of its methods: items, type."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __setitem__(self, name: str, module: Kind) -> None:
        self.names.append(name)
        self.add_module(f"of_{name}", module)

    def replace(self, name: str, module: Kind) -> None:
        """Replace the module of an existing name."""
        assert name in self.names
        self.add_module(f"of_{name}", module)

    def __getitem__(self, name: str) -> Kind:
        module: Kind = self._modules[f"of_{name}"]  # type: ignore[assignment]
        return module

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names in the order in which they were set."""
        return iter(self.names)
