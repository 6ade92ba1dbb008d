"""Which version answers whom, and how another takes its place while requests go on."""

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

    `refresh` reads the pointer again; versions that are new to it are loaded and asked beside those that answer, and all change
    places in one step. Where one does not load or says what is no number, the others go on and `refused` tells why.
    """

    def __init__(self, folder: Path, store: Durable) -> None:
        self.models, self.store = Models(folder), store
        self.refused: str | None = None
        self._lock = Lock()
        pointer = self.models.pointer()
        self._state = pointer, {name: self._load(name) for name in pointer.names}

    @property
    def pointer(self) -> Pointer:
        """Who answers whom, as it is now."""
        return self._state[0]

    @property
    def slots(self) -> dict[str, Slot]:
        """The versions that are loaded, by name."""
        return self._state[1]

    @property
    def current(self) -> Slot:
        """The version that answers whoever is in no share of another."""
        pointer, slots = self._state
        return slots[pointer.current]

    @property
    def shadows(self) -> list[Slot]:
        """The versions in the shadow."""
        pointer, slots = self._state
        return [slots[name] for name in pointer.shadow]

    def of(self, user: str | None) -> Slot:
        """Return the version that answers a user: by a hash of the key, the same at every request and in every process."""
        pointer, slots = self._state
        if user is not None and pointer.split:
            place = int.from_bytes(blake2b(user.encode(), digest_size=4, person=b"polyrec split").digest(), "big") / _SHARES
            for name, share in pointer.split.items():
                if place < share:
                    return slots[name]
                place -= share
        return slots[pointer.current]

    def refresh(self) -> bool:
        """Read the pointer again and return whether other versions answer now."""
        with self._lock:
            before, slots = self._state
            try:
                pointer = self.models.pointer()
                if pointer == before:
                    return False
                new = {name: slots.get(name) or self._load(name) for name in pointer.names}
            except Exception as error:
                if self.refused != str(error):
                    is_told = isinstance(error, UserError | OSError | ValueError)
                    _LOGGER.error("a version was refused, the others go on: %s", error, exc_info=not is_told)
                self.refused = str(error)
                return False
            self._state, self.refused = (pointer, new), None
            _LOGGER.info("version %s answers", pointer.current)
            return True

    def follow(self) -> int:
        """Take over the changes of items that the store has, in all versions; return how many there were."""
        return sum(slot.follow(self.store) for slot in self.slots.values())

    def check_items(self, items: Sequence[Mapping[str, Any]]) -> list[ItemChange]:
        """Return changes of items as a store keeps them; raises `UserError` where one does not fit every version."""
        changes = self.current.check_items(items)
        for slot in self.slots.values():
            slot.require_fit(changes)
        return changes

    def _load(self, name: str) -> Slot:
        slot = Slot.load(name, self.models.path(name))
        try:
            slot.follow(self.store)
        except UnavailableError as error:
            _LOGGER.warning("changes of items are not known yet: %s", error)
        return slot
