"""API keys: made, listed, revoked and recognised. Only their Argon2id digests are kept.

A key is ``basilica_ID_SECRET``. The id finds the row, so that one digest is computed, not one per key; what was found
good stays known for some minutes by a keyed digest, because Argon2id is slow on purpose.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import re
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, replace
from typing import Protocol

from nacl import exceptions, pwhash

from engine.clock import Clock
from engine.errors import ApiKeyInvalid, StoreUnusable
from engine.rest.access import SCOPES, Caller, Scope
from engine.store.records import ApiKeyRecord

SHORTEST_CONFIGURED = 24
OPERATIONS, MEMORY_BYTES = 2, 19 * 1024 * 1024
"""The least that OWASP recommends; the secret itself has 256 bits."""
TRUSTED_S = 300.0
TRUSTED_MOST = 256
USED_EVERY_S = 60.0
MOST_KEYS = 200
_KEY = re.compile(r"basilica_([a-z0-9]{12})_([A-Za-z0-9_-]{43})")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}")
_ID_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"


@dataclass(frozen=True, slots=True)
class _Trusted:
    caller: Caller
    key_id: str
    until: float


class KeyRows(Protocol):
    """Where the rows are."""

    async def all(self) -> list[ApiKeyRecord]:
        """Every key that was ever made, oldest first. Raises StoreUnusable."""

    async def put(self, record: ApiKeyRecord) -> None:
        """Store one; a known id replaces the earlier row. Raises StoreUnusable."""


async def _nobody_else() -> None:
    return


class ApiKeys:
    """All keys in memory, every change in the store first. One instance changes them; others ``forget`` and read."""

    def __init__(self, repository: KeyRows, clock: Clock, *, configured: str | None = None) -> None:
        """``configured`` is ``api.api_key``: one more key, with every scope, unless it is too short."""
        self._repository = repository
        self._clock = clock
        is_usable = configured is not None and len(configured) >= SHORTEST_CONFIGURED
        # Digests in memory are worth nothing elsewhere: their key lives and dies with this process.
        self._secret = secrets.token_bytes(32)
        self._configured = self._short(configured) if is_usable and configured else None
        self._rows: dict[str, ApiKeyRecord] | None = None
        self._trusted: OrderedDict[bytes, _Trusted] = OrderedDict()
        self._hashing = asyncio.Lock()
        self._changing = asyncio.Lock()
        self._readings = 0
        self.on_change: Callable[[], Awaitable[None]] = _nobody_else
        """Awaited after a key was made or revoked: whoever else recognises keys knows before the operator is told."""

    async def all(self) -> list[ApiKeyRecord]:
        """Every key that was ever made, oldest first. Raises StoreUnusable."""
        return list((await self._known()).values())

    async def create(self, name: str, scopes: Collection[str], *, lifetime_s: float | None) -> tuple[str, ApiKeyRecord]:
        """Make a key; its text is told here and never again.

        Raises:
            ApiKeyInvalid: a name that is taken or none, an unknown scope, too many keys.
            StoreUnusable: it was not stored.
        """
        rows = await self._known()
        if not _NAME.fullmatch(name):
            raise ApiKeyInvalid(
                f"{name[:64]!r} is no name for a key", hint="use letters, digits and . _ @ - , at most 64"
            )
        unknown = sorted(set(scopes) - set(SCOPES))
        if unknown or not scopes:
            raise ApiKeyInvalid(
                f"unknown scopes: {', '.join(unknown)}" if unknown else "a key needs a scope",
                hint=f"scopes are {', '.join(SCOPES)}",
            )
        usable = [row for row in rows.values() if self._is_usable(row)]
        if any(row.name == name for row in usable):
            raise ApiKeyInvalid(f"there is a key {name} already", hint="revoke it first, or choose another name")
        if len(usable) >= MOST_KEYS:
            raise ApiKeyInvalid(f"there are {MOST_KEYS} keys already", hint="revoke those that nobody uses")
        if lifetime_s is not None and lifetime_s <= 0:
            raise ApiKeyInvalid("a key cannot end before it begins", hint="give it some days")
        now = self._clock.now()
        key_id = "".join(secrets.choice(_ID_LETTERS) for _ in range(12))
        text = f"basilica_{key_id}_{secrets.token_urlsafe(32)}"
        async with self._hashing:
            digest = await asyncio.to_thread(_digest, text)
        ordered = " ".join(scope for scope in SCOPES if scope in scopes)
        record = ApiKeyRecord(
            key_id, name, digest, ordered, now, expires_at=None if lifetime_s is None else now + lifetime_s
        )
        await self._put(record)
        await self.on_change()
        return text, record

    async def revoke(self, word: str) -> ApiKeyRecord:
        """End a key, by id or by name. Raises ApiKeyInvalid, StoreUnusable."""
        async with self._changing:
            rows = await self._known()
            found = rows.get(word) or next((r for r in rows.values() if r.name == word and self._is_usable(r)), None)
            if found is None or found.revoked_at is not None:
                raise ApiKeyInvalid(f"there is no key {word[:64]}", hint="basilica-tui api-keys list shows them")
            record = replace(found, revoked_at=self._clock.now())
            await self._put(record)
        self._trusted = OrderedDict((k, t) for k, t in self._trusted.items() if t.key_id != record.id)
        await self.on_change()
        return record

    def forget(self) -> None:
        """Keys were changed elsewhere: the next request has them read again."""
        self._rows = None
        self._readings += 1
        self._trusted.clear()

    def recall(self, text: str) -> Caller | None:
        """Who has this key, if it was found good a moment ago. Cheap."""
        digest = self._short(text)
        if self._configured is not None and hmac.compare_digest(digest, self._configured):
            return Caller("api_key of the configuration", frozenset(SCOPES))
        trusted = self._trusted.get(digest)
        if trusted is None or self._clock.now() >= trusted.until:
            return None
        return trusted.caller

    async def recognise(self, text: str) -> Caller | None:
        """Who has this key; None when nobody does, or not any more. Raises StoreUnusable."""
        known = self.recall(text)
        if known is not None:
            return known
        match = _KEY.fullmatch(text)
        row = (await self._known()).get(match[1]) if match else None
        if row is None or not self._is_usable(row):
            return None
        async with self._hashing:  # one at a time: each takes 19 MiB
            if not await asyncio.to_thread(_is_digest_of, row.digest, text):
                return None
        row = (await self._known()).get(row.id, row)
        if not self._is_usable(row):
            return None
        now = self._clock.now()
        scopes: frozenset[Scope] = frozenset(scope for scope in SCOPES if scope in row.scopes.split())
        caller = Caller(f"key {row.name}", scopes)
        until = min(now + TRUSTED_S, row.expires_at or now + TRUSTED_S)
        self._trusted[self._short(text)] = _Trusted(caller, row.id, until)
        while len(self._trusted) > TRUSTED_MOST:
            self._trusted.popitem(last=False)
        if row.last_used_at is None or now - row.last_used_at >= USED_EVERY_S:
            await self.note_use(row.id, now)
        return caller

    async def note_use(self, key_id: str, at: float) -> None:
        """A key was used then; kept when the store takes it."""
        with contextlib.suppress(StoreUnusable):  # a full disk keeps nobody from reading
            async with self._changing:  # a key that is being revoked stays revoked
                row = (await self._known()).get(key_id)
                if row is not None and (row.last_used_at is None or row.last_used_at < at):
                    await self._put(replace(row, last_used_at=at))

    def _short(self, text: str) -> bytes:
        return hashlib.blake2b(text.encode("utf-8", "replace"), key=self._secret, digest_size=32).digest()

    async def _put(self, record: ApiKeyRecord) -> None:
        rows = await self._known()
        await self._repository.put(record)
        rows[record.id] = record

    async def _known(self) -> dict[str, ApiKeyRecord]:
        while self._rows is None:
            reading = self._readings
            found = {record.id: record for record in await self._repository.all()}
            if self._rows is None and reading == self._readings:  # else it may be what held before a change
                self._rows = found
        return self._rows

    def _is_usable(self, row: ApiKeyRecord) -> bool:
        return row.revoked_at is None and (row.expires_at is None or self._clock.now() < row.expires_at)


def _digest(text: str) -> str:
    return pwhash.argon2id.str(text.encode(), opslimit=OPERATIONS, memlimit=MEMORY_BYTES).decode().rstrip("\0")


def _is_digest_of(digest: str, text: str) -> bool:
    try:
        return bool(pwhash.argon2id.verify(digest.encode(), text.encode()))
    except (exceptions.InvalidkeyError, exceptions.CryptoError):
        return False
