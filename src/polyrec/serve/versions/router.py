"""Routing of users to versions, and replacement of versions while requests are served."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from threading import Lock
from typing import Any

from polyrec.core.errors import UserError
from polyrec.serve.stores.durable import Durable
from polyrec.serve.stores.records import ItemChange
from polyrec.serve.stores.store import UnavailableError
from polyrec.serve.versions.slot import Slot
from polyrec.serve.versions.versions import Models, Pointer

_LOGGER = logging.getLogger(__name__)

_SHARES = 2**32


class Router:
    """The versions that a pointer names, loaded and warm.

    `refresh` reads the pointer again. It loads and warms new versions while the old ones answer, then replaces them atomically.
    If a version does not load or its scores are not finite, the old ones stay and `refused` states the reason.
    """

    def __init__(self, folder: Path, store: Durable) -> None:
        self.models, self.store = Models(folder), store
        self.refused: str | None = None
        self._lock = Lock()
        pointer = self.models.pointer()
        self._state = pointer, {name: self._load(name) for name in pointer.names}

    @property
    def pointer(self) -> Pointer:
        """The pointer of the loaded versions."""
        return self._state[0]

    @property
    def slots(self) -> dict[str, Slot]:
        """The loaded versions, by name."""
        return self._state[1]

    @property
    def current(self) -> Slot:
        """The version that answers all users outside the shares of other versions."""
        pointer, slots = self._state
        return slots[pointer.current]

    @property
    def shadows(self) -> list[Slot]:
        """The shadow versions."""
        pointer, slots = self._state
        return [slots[name] for name in pointer.shadow]

    def of(self, user: str | None) -> Slot:
        """Return the version that answers a user, by a hash of the key: the same at every request and in every process."""
        pointer, slots = self._state
        if user is not None and pointer.split:
            place = int.from_bytes(blake2b(user.encode(), digest_size=4, person=b"polyrec split").digest(), "big") / _SHARES
            for name, share in pointer.split.items():
                if place < share:
                    return slots[name]
                place -= share
        return slots[pointer.current]

    def refresh(self) -> bool:
        """Read the pointer again and return whether it changed the served versions."""
        with self._lock:
            before, slots = self._state
            try:
                pointer = self.models.pointer()
                if pointer == before:
                    return False
                new = {name: slots.get(name) or self._load(name) for name in pointer.names}
            except Exception as error:
                if self.refused != str(error):
                    is_expected = isinstance(error, UserError | OSError | ValueError)
                    _LOGGER.error("a version was refused, the loaded ones stay: %s", error, exc_info=not is_expected)
                self.refused = str(error)
                return False
            self._state, self.refused = (pointer, new), None
            _LOGGER.info("version %s answers", pointer.current)
            return True

    def follow(self) -> int:
        """Apply new item changes of the store to all versions; return their number, summed over the versions."""
        return sum(slot.follow(self.store) for slot in self.slots.values())

    def check_items(self, items: Sequence[Mapping[str, Any]]) -> list[ItemChange]:
        """Return item changes as records of a store; raises `UserError` if one does not fit every version."""
        changes = self.current.check_items(items)
        for slot in self.slots.values():
            slot.require_fit(changes)
        return changes

    def _load(self, name: str) -> Slot:
        slot = Slot.load(name, self.models.path(name))
        try:
            slot.follow(self.store)
        except UnavailableError as error:
            _LOGGER.warning("item changes cannot be read yet: %s", error)
        return slot
