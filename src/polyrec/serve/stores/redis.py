"""A store in a Redis or Valkey server: the fastest store, in memory, as durable as its append-only file."""

from __future__ import annotations

import json
import logging
import math
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from polyrec.core.address import Address
from polyrec.core.errors import UserError, missing_extra
from polyrec.serve.stores.records import Event, ItemChange, ServedList, stored_event
from polyrec.serve.stores.store import SCHEMA, Store, UnavailableError

_PREFIX = "{polyrec}:"
"""Prefix of every key. The braces keep all keys on one node of a cluster, as scripts require."""

_LOGGER = logging.getLogger(__name__)

_ERASED = "local function erased(hash, at) return tonumber(redis.call('HGET', KEYS[4], hash) or '-inf') >= tonumber(at) end\n"
_APPEND = (
    _ERASED
    + """
-- KEYS: facts, ids, events, erasures, the history of each event's user.
-- ARGV, for each event: id, body, time, hash or '', arrived.
local new = 0
for i = 5, #KEYS do
  local a = (i - 5) * 5
  if redis.call('HEXISTS', KEYS[2], ARGV[a + 1]) == 0 and (ARGV[a + 4] == '' or not erased(ARGV[a + 4], ARGV[a + 5])) then
    local number = string.format('%016.0f', redis.call('HINCRBY', KEYS[1], 'event', 1))
    redis.call('HSET', KEYS[2], ARGV[a + 1], number)
    redis.call('HSET', KEYS[3], number, ARGV[a + 2])
    redis.call('ZADD', KEYS[i], ARGV[a + 3], number)
    new = new + 1
  end
end
return new"""
)
_HISTORY = """
-- KEYS: events, the user's history. ARGV: the highest score, how many.
local bodies = {}
for i, number in ipairs(redis.call('ZRANGE', KEYS[2], ARGV[1], '-inf', 'BYSCORE', 'REV', 'LIMIT', 0, ARGV[2])) do
  bodies[i] = redis.call('HGET', KEYS[1], number)
end
return bodies"""
_ERASE = """
-- KEYS: ids, events, erasures, users of lists, the user's history, the user's lists. ARGV: hash, time of the erasure, until.
for _, number in ipairs(redis.call('ZRANGE', KEYS[5], 0, -1)) do
  local event = cjson.decode(redis.call('HGET', KEYS[2], number))
  if event[7] <= tonumber(ARGV[3]) then
    redis.call('HDEL', KEYS[1], event[1])
    redis.call('HDEL', KEYS[2], number)
    redis.call('ZREM', KEYS[5], number)
  end
end
for _, number in ipairs(redis.call('ZRANGE', KEYS[6], '-inf', ARGV[3], 'BYSCORE')) do
  redis.call('HDEL', KEYS[4], number)
  redis.call('ZREM', KEYS[6], number)
end
if tonumber(redis.call('HGET', KEYS[3], ARGV[1]) or '-inf') < tonumber(ARGV[2]) then
  redis.call('HSET', KEYS[3], ARGV[1], ARGV[2])
end"""
_PUT_ITEMS = """
-- KEYS: facts, items, their sequence numbers. ARGV: item, columns as read before or '', new columns, item, …
-- Returns -1 and changes nothing if an item was changed meanwhile.
for i = 1, #ARGV, 3 do
  if (redis.call('HGET', KEYS[2], ARGV[i]) or '') ~= ARGV[i + 1] then
    return -1
  end
end
for i = 1, #ARGV, 3 do
  redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 2])
  redis.call('ZADD', KEYS[3], redis.call('HINCRBY', KEYS[1], 'item', 1), ARGV[i])
end
return tonumber(redis.call('HGET', KEYS[1], 'item') or '0')"""
_ITEMS = """
-- KEYS: items, their sequence numbers. ARGV: the number to start after, how many. Returns item, columns, number, item, …
local rows = {}
local range = redis.call('ZRANGE', KEYS[2], '(' .. ARGV[1], '+inf', 'BYSCORE', 'LIMIT', 0, ARGV[2], 'WITHSCORES')
for i = 1, #range, 2 do
  rows[#rows + 1] = range[i]
  rows[#rows + 1] = redis.call('HGET', KEYS[1], range[i])
  rows[#rows + 1] = range[i + 1]
end
return rows"""
_LOG_LISTS = (
    _ERASED
    + """
-- KEYS: facts, requests, lists, erasures, users of lists, the lists of each list's user.
-- ARGV, for each list: request, body, user or '', time, hash or ''.
local new = 0
for i = 6, #KEYS do
  local a = (i - 6) * 5
  if redis.call('HEXISTS', KEYS[2], ARGV[a + 1]) == 0 then
    local number = string.format('%016.0f', redis.call('HINCRBY', KEYS[1], 'list', 1))
    redis.call('HSET', KEYS[2], ARGV[a + 1], number)
    redis.call('HSET', KEYS[3], number, ARGV[a + 2])
    if ARGV[a + 3] ~= '' and not erased(ARGV[a + 5], ARGV[a + 4]) then
      redis.call('HSET', KEYS[5], number, ARGV[a + 3])
      redis.call('ZADD', KEYS[i], ARGV[a + 4], number)
    end
    new = new + 1
  end
end
return new"""
)


class Redis(Store):
    """A Redis (7 or later) or Valkey server. Each call is one atomic script.

    The append-only file must be on (`appendonly yes`), otherwise acknowledged events are lost when the server ends. A server
    without it is refused, and so is one that evicts keys when its memory is full (`maxmemory-policy`). With `appendfsync
    always` acknowledged events survive a loss of power. With `everysec`, the default of Redis, a loss of power may lose the
    last second or two of events; a warning states this. `kill -9` of the server loses nothing either way. A replica that takes
    over may lack writes that had not been replicated.
    """

    schemes = ("redis", "rediss")

    def __init__(self, address: Address, timeout: float) -> None:
        super().__init__(address, timeout)
        try:
            import redis
            from redis.backoff import NoBackoff
            from redis.retry import Retry
        except ImportError as error:
            raise missing_extra("redis", "serve", "a store in Redis") from error
        self._errors = redis.RedisError
        self._refusals = redis.ResponseError
        limits: dict[str, Any] = {"socket_timeout": timeout, "socket_connect_timeout": timeout}
        try:
            # Only use reveals that the server closed a connection; one retry is harmless, as calls are idempotent.
            retry = Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,))
            self._redis: Any = redis.Redis.from_url(address.text, retry=retry, decode_responses=True, **limits)
        except ValueError:
            remedy = "Write redis://:password@host:6379/0, with a percent-encoded password."
            found = "one that cannot be read"
            raise UserError(f"store {address.shown!r}", expected="an address", found=found, remedy=remedy) from None
        scripts = (_APPEND, _HISTORY, _ERASE, _PUT_ITEMS, _ITEMS, _LOG_LISTS)
        self._append, self._history, self._erase, self._put, self._items, self._log = map(self._redis.register_script, scripts)
        try:
            with self._answering():
                self.key = self._prepare()
                self._check_durability(warns=True)
        except BaseException:
            self._redis.close()
            raise

    def append(self, events: Sequence[Event], arrived: Sequence[float] | None = None) -> int:
        if not events:
            return 0
        arguments: list[str] = []
        for *event, at, hash_ in self._rows(events, arrived):
            body = json.dumps([*event, at], ensure_ascii=False)
            arguments += (event[0], body, repr(event[4]), hash_.hex() if hash_ else "", repr(at))
        keys = self._keys("facts", "ids", "events", "erasures", *(f"history:{event.user}" for event in events))
        with self._answering():
            return self._append(keys=keys, args=arguments)

    def history(self, user: str, limit: int, before: float | None = None) -> list[Event]:
        highest = "+inf" if before is None else f"({before!r}"
        with self._answering():
            bodies = self._history(keys=self._keys("events", f"history:{user}"), args=[highest, limit])
        return [stored_event(*json.loads(body)[:-1]) for body in reversed(bodies)]

    def erase(self, user: str, at: float | None = None) -> None:
        now, until = (time.time(), math.inf) if at is None else (at, at)
        keys = self._keys("ids", "events", "erasures", "users of lists", f"history:{user}", f"lists:{user}")
        with self._answering():
            self._erase(keys=keys, args=[self.hashed(user).hex(), repr(now), repr(until)])

    def erased_at(self, user: str) -> float | None:
        with self._answering():
            erased_at = self._redis.hget(*self._keys("erasures"), self.hashed(user).hex())
        return None if erased_at is None else float(erased_at)

    def erased_hashes(self, beyond: int = -1) -> frozenset[bytes]:
        (erasures,) = self._keys("erasures")
        with self._answering():
            hashes = self._redis.hkeys(erasures) if self._redis.hlen(erasures) > beyond else []
        return frozenset(map(bytes.fromhex, hashes))

    def put_items(self, changes: Sequence[ItemChange]) -> int:
        keys, items = self._keys("facts", "items", "item sequence"), [change.item for change in changes]
        with self._answering():
            while True:
                read = self._redis.hmget(keys[1], items) if items else []
                before = dict(zip(items, read, strict=True))
                known, arguments = dict(before), []
                for change in changes:
                    known[change.item] = change.over(known[change.item])
                    arguments += [change.item, before[change.item] or "", known[change.item]]
                if (last := self._put(keys=keys, args=arguments)) >= 0:
                    return last

    def items_since(self, sequence: int, limit: int = 1000) -> list[ItemChange]:
        with self._answering():
            values = iter(self._items(keys=self._keys("items", "item sequence"), args=[sequence, limit]))
        parts = zip(values, values, values, strict=True)
        return [ItemChange(item=item, columns=json.loads(columns), sequence=int(number)) for item, columns, number in parts]

    def log_lists(self, lists: Sequence[ServedList]) -> int:
        if not lists:
            return 0
        arguments: list[str] = []
        for served in lists:
            hash_ = self._hashed_user(served)
            body = served.model_dump_json(exclude={"user"})
            arguments += (served.request, body, served.user or "", repr(served.time), hash_.hex() if hash_ else "")
        tables = ("facts", "requests", "lists", "erasures", "users of lists")
        keys = self._keys(*tables, *(f"lists:{served.user}" for served in lists))
        with self._answering():
            return self._log(keys=keys, args=arguments)

    def lists_since(self, sequence: int, limit: int = 1000) -> tuple[list[ServedList], int]:
        rows, until = self._page("list", ("lists", "users of lists"), sequence, limit)
        return [ServedList(user=user, **json.loads(body)) for body, user in rows], until

    def events_since(self, sequence: int, limit: int = 1000) -> tuple[list[Event], int]:
        rows, until = self._page("event", ("events",), sequence, limit)
        return [stored_event(*json.loads(body)[:-1]) for (body,) in rows], until

    def counters(self) -> dict[str, int]:
        tables = ("events", "lists", "items", "erasures")
        with self._answering():
            return {table: self._redis.hlen(key) for table, key in zip(tables, self._keys(*tables), strict=True)}

    def ping(self) -> None:
        """Check that the server answers and still has the required durability."""
        with self._answering():
            self._check_durability(warns=False)

    def close(self) -> None:
        self._redis.close()

    def _keys(self, *names: str) -> list[str]:
        return [_PREFIX + name for name in names]

    def _page(self, counter: str, tables: Sequence[str], sequence: int, limit: int) -> tuple[list[tuple[Any, ...]], int]:
        """Return the rows of numbers after `sequence`, skipping erased ones, and the last number examined."""
        with self._answering():
            last = int(self._redis.hget(*self._keys("facts"), counter) or 0)
            while sequence < last:
                numbers = [f"{number:016d}" for number in range(sequence + 1, min(sequence + limit, last) + 1)]
                sequence += len(numbers)
                columns = [self._redis.hmget(key, numbers) for key in self._keys(*tables)]
                rows = [row for row in zip(*columns, strict=True) if row[0] is not None]
                if rows:
                    return rows, sequence
        return [], sequence

    def _prepare(self) -> bytes:
        """Write the schema and the key of the hashes if there are none; return the key."""
        (facts,) = self._keys("facts")
        with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.hsetnx(facts, "schema", str(SCHEMA))
            pipeline.hsetnx(facts, "key", secrets.token_hex(32))
            pipeline.hmget(facts, "schema", "key")
            schema, key = pipeline.execute()[-1]
        self._check_schema(int(schema))
        return bytes.fromhex(key)

    def _check_durability(self, warns: bool) -> None:
        thing = f"store {self.address.shown!r}"
        self._redis.ping()  # raises while the server loads its file, as `info` then reports that there is none
        info: dict[str, Any] = self._redis.info("persistence", "memory")
        if not info["aof_enabled"]:
            remedy = "Set `appendonly yes` in the server's configuration."
            raise UserError(thing, expected="an append-only file", found="`appendonly no`", remedy=remedy)
        if info["maxmemory"] and info["maxmemory_policy"] != "noeviction":
            found, remedy = f"`maxmemory-policy {info['maxmemory_policy']}`", "Set `maxmemory-policy noeviction`."
            raise UserError(thing, expected="a server that evicts no keys", found=found, remedy=remedy)
        if not warns:
            return
        try:
            policy = self._redis.config_get("appendfsync").get("appendfsync", "unknown")
        except self._refusals:
            policy = "unknown"
        if policy != "always":
            message = "%s has `appendfsync %s`: a loss of power may lose the last seconds of acknowledged events"
            _LOGGER.warning(message, thing, policy)

    @contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except UnavailableError:
            raise
        except (self._errors, OSError) as error:
            raise self._unavailable(error) from None
