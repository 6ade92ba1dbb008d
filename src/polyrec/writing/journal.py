"""The journal of answers: one SQLite file, keyed by everything that an answer depends on. No answer is paid for twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from polyrec.core.cache import cache_folder
from polyrec.core.database import open_database, telling
from polyrec.language.endpoint.chat import Chat, Messages

FORMAT = 1
"""Part of every key; increase it when the form of requests changes."""

_TABLE = "CREATE TABLE IF NOT EXISTS answers (key BLOB PRIMARY KEY, answer TEXT NOT NULL) WITHOUT ROWID"


def journal_path() -> Path:
    """Return the file of the journal."""
    return cache_folder() / "written.sqlite"


def digest(chat: Chat, messages: Messages, schema: Mapping[str, Any]) -> bytes:
    """Return the key of a request: the SHA-256 of model, settings, messages and schema."""
    content = {"format": FORMAT, "chat": chat.identity(), "messages": list(messages), "schema": schema}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).digest()


class Journal:
    """Answers by the key of their request. Each is committed separately, so that a crash loses only the answers in flight.

    Runs and processes share one journal.
    """

    def __init__(self) -> None:
        path = journal_path()
        remedy = "Remove the file (its answers are then requested again), or move the cache with POLYREC_CACHE."
        with telling(f"journal of answers '{path}'", remedy):
            self._database = open_database(path, [_TABLE], is_durable=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._database.close()

    def answers(self, keys: Iterable[bytes]) -> dict[bytes, dict[str, Any]]:
        """Return the stored answers by key; keys without an answer are absent."""
        answers = {}
        for key in keys:
            row = self._database.execute("SELECT answer FROM answers WHERE key = ?", (key,)).fetchone()
            if row is not None:
                answers[key] = json.loads(row[0])
        return answers

    def keep(self, key: bytes, answer: Mapping[str, Any]) -> None:
        """Commit an answer."""
        with self._database:
            self._database.execute("INSERT OR REPLACE INTO answers VALUES (?, ?)", (key, json.dumps(answer)))
