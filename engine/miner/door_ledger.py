"""What the door must remember beyond a restart: spent nonces and sessions.

An authentication is answered only after its nonce is on disk. The store groups concurrent writes by itself; reading
sessions to change them is grouped here, because one read per call would cost more than all the rest of the call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from engine.errors import StoreUnusable
from engine.store.records import Session, SpentNonce

FEW = 4
"""Up to so many sessions are read one by one; for more, reading the whole short table is cheaper."""


class SessionRows(Protocol):
    """The store's sessions, one row per hotkey."""

    async def get(self, hotkey: str) -> Session | None: ...
    async def all(self) -> list[Session]: ...
    async def put(self, session: Session) -> None: ...


class NonceRows(Protocol):
    """The store's spent nonces. ``spend`` returns the earlier row of a used nonce, None when newly spent."""

    async def get(self, hotkey_hex: str, nonce: str) -> SpentNonce | None: ...
    async def spend(self, spent: SpentNonce) -> SpentNonce | None: ...


@dataclass(frozen=True, slots=True)
class Discovery:
    """What a discovery adds to its caller's session."""

    at: float
    key_algorithm: str
    key_blob_base64: str
    key_fingerprint: str
    nodes_ready: int
    nodes_failed: int
    access_until: float | None


@dataclass(frozen=True, slots=True)
class Entry:
    """An accepted call: the nonce that it spends and what it does to the session."""

    hotkey: str
    spent: SpentNonce
    change: Session | Discovery


@dataclass(frozen=True, slots=True)
class Written:
    """``earlier`` is set when the nonce had been spent before; then nothing was changed."""

    earlier: SpentNonce | None
    previous: Session | None


class Ledger:
    """The only writer of nonces, and the door's only way to sessions."""

    def __init__(self, sessions: SessionRows, nonces: NonceRows) -> None:
        self._sessions = sessions
        self._nonces = nonces
        self._waiting: list[_Waiting] = []
        self._updating: asyncio.Task[None] | None = None

    async def session(self, hotkey: str) -> Session | None:
        """The caller's row, live or not. Raises StoreUnusable."""
        return await self._sessions.get(hotkey)

    async def spent(self, hotkey_hex: str, nonce: str) -> SpentNonce | None:
        """The row of a used nonce. Raises StoreUnusable."""
        return await self._nonces.get(hotkey_hex, nonce)

    async def write(self, entry: Entry) -> Written:
        """Spend the nonce, then change the session; returns when both are stored. Raises StoreUnusable."""
        earlier = await self._nonces.spend(entry.spent)
        if earlier is not None:
            return Written(earlier, None)
        waiting = _Waiting(entry.hotkey, entry.change, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if self._updating is None:
            self._updating = asyncio.create_task(self._update(), name="door-sessions")
        return Written(None, await waiting.previous)

    async def _update(self) -> None:
        try:
            while self._waiting:
                group, self._waiting = self._waiting, []
                try:
                    found = await self._change(group)
                except Exception as error:  # noqa: BLE001 - whatever it was, those who wait must hear of it
                    for waiting in group:
                        waiting.fail(error)
                else:
                    for waiting, previous in zip(group, found, strict=True):
                        waiting.succeed(previous)
        finally:
            self._updating = None

    async def _change(self, group: Sequence[_Waiting]) -> list[Session | None]:
        """Apply changes in their order; returns what each found. A hotkey's row is written once per group."""
        before = await self._read({waiting.hotkey for waiting in group})
        rows = dict(before)
        found = []
        for waiting in group:
            previous = rows.get(waiting.hotkey)
            found.append(previous)
            changed = merged(previous, waiting.change)
            if changed is not None:
                rows[waiting.hotkey] = changed
        await asyncio.gather(*(self._sessions.put(row) for key, row in rows.items() if before.get(key) is not row))
        return found

    async def _read(self, hotkeys: set[str]) -> Mapping[str, Session]:
        if len(hotkeys) > FEW:
            return {row.hotkey: row for row in await self._sessions.all()}
        rows = [await self._sessions.get(hotkey) for hotkey in hotkeys]
        return {row.hotkey: row for row in rows if row is not None}


@dataclass(frozen=True, slots=True)
class _Waiting:
    hotkey: str
    change: Session | Discovery
    previous: asyncio.Future[Session | None]

    def succeed(self, previous: Session | None) -> None:
        if not self.previous.done():
            self.previous.set_result(previous)

    def fail(self, error: Exception) -> None:
        if not self.previous.done():
            # Each waiter raises its own: a shared exception would grow a traceback per waiter.
            own = StoreUnusable(error.message, hint=error.hint) if isinstance(error, StoreUnusable) else error
            self.previous.set_exception(own)


def merged(previous: Session | None, change: Session | Discovery) -> Session | None:
    """The session's row after an accepted call; None when there is none to change.

    A new authentication keeps what is known of the caller's key and, while its access has not ended, of that access:
    the core closes a session only by its ``access_until``.
    """
    if isinstance(change, Discovery):
        if previous is None:
            return None
        return replace(
            previous,
            key_algorithm=change.key_algorithm or previous.key_algorithm,
            key_blob_base64=change.key_blob_base64 or previous.key_blob_base64,
            key_fingerprint=change.key_fingerprint or previous.key_fingerprint,
            last_discovery_at=change.at,
            nodes_ready=change.nodes_ready,
            nodes_failed=change.nodes_failed,
            access_until=change.access_until or previous.access_until,
        )
    if previous is None:
        return change
    if not change.key_fingerprint:
        change = replace(
            change,
            key_algorithm=previous.key_algorithm,
            key_blob_base64=previous.key_blob_base64,
            key_fingerprint=previous.key_fingerprint,
        )
    if previous.ended_at is not None:
        return change
    return replace(
        change,
        last_discovery_at=previous.last_discovery_at,
        nodes_ready=previous.nodes_ready,
        nodes_failed=previous.nodes_failed,
        access_until=previous.access_until,
    )
