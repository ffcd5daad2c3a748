"""What the door must remember beyond a restart: spent nonces and sessions, written in groups.

An authentication is answered only after its nonce is on disk. A transaction per call would cost more than all the rest
of the call, so one group is written at a time and whatever comes meanwhile makes up the next.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeAlias

from engine.errors import StoreUnusable
from engine.store import Store
from engine.store.admissions import Admission, Admitted
from engine.store.records import Opening, Session, SpentNonce

COLLECT_S = 0.01
"""How long a group is left open at most when calls come in parallel. A lone call does not wait."""
ENOUGH = 32
"""A group of so many waits for no more."""
MOST_IN_GROUP = 200


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
    opening: Opening | None = None


Outcome: TypeAlias = Admitted | Exception
Done: TypeAlias = Callable[[Outcome], None]


class Ledger:
    """The door's only way to nonces and sessions."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: list[tuple[Entry, Done]] = []
        self._writing: asyncio.Task[None] | None = None
        self._collected: asyncio.Event | None = None
        self._expected = 1

    async def session(self, hotkey: str) -> Session | None:
        """The caller's row, live or not. Raises StoreUnusable."""
        return await self._store.sessions.get(hotkey)

    async def openings(self, hotkey: str) -> list[Opening]:
        """What the caller's session limits are counted from. Raises StoreUnusable."""
        return await self._store.openings.of(hotkey)

    async def spent(self, hotkey_hex: str, nonce: str) -> SpentNonce | None:
        """The row of a used nonce. Raises StoreUnusable."""
        return await self._store.nonces.get(hotkey_hex, nonce)

    def submit(self, entry: Entry, done: Done) -> None:
        """Spend the nonce and change the session; ``done`` hears when both are stored, or why not."""
        self._waiting.append((entry, done))
        if self._collected is not None and len(self._waiting) >= self._expected:
            self._collected.set()
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_groups(), name="door-ledger")

    async def write(self, entry: Entry) -> Admitted:
        """``submit`` and wait. Raises StoreUnusable."""
        written: asyncio.Future[Admitted] = asyncio.get_running_loop().create_future()

        def done(outcome: Outcome) -> None:
            if written.done():
                return
            if isinstance(outcome, Exception):
                written.set_exception(outcome)
            else:
                written.set_result(outcome)

        self.submit(entry, done)
        return await written

    async def _write_groups(self) -> None:
        try:
            while self._waiting:
                group, self._waiting = self._waiting[:MOST_IN_GROUP], self._waiting[MOST_IN_GROUP:]
                await self._write_group(group)
                # Those who are answered now are likely to come again, and those who wait are here already: so the
                # groups of a crowd grow until few of them share the cost of a transaction.
                self._expected = min(len(group) + len(self._waiting), ENOUGH)
                if 1 < self._expected > len(self._waiting):
                    await self._collect()
        finally:
            self._writing = None

    async def _collect(self) -> None:
        self._collected = collected = asyncio.Event()
        timer = asyncio.get_running_loop().call_later(COLLECT_S, collected.set)
        try:
            await collected.wait()
        finally:
            timer.cancel()
            self._collected = None

    async def _write_group(self, group: list[tuple[Entry, Done]]) -> None:
        try:
            results = await self._store.admissions.accept([_admission(entry) for entry, _ in group])
        except Exception as error:  # noqa: BLE001 - whatever it was, those who wait must hear of it
            for _, done in group:
                # Each waiter raises its own: a shared exception would grow a traceback per waiter.
                done(StoreUnusable(error.message, hint=error.hint) if isinstance(error, StoreUnusable) else error)
            return
        for (_, done), admitted in zip(group, results, strict=True):
            done(admitted)


def _admission(entry: Entry) -> Admission:
    return Admission(entry.hotkey, entry.spent, partial(merged, change=entry.change), entry.opening)


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
    key_of = change if change.key_fingerprint else previous
    access_of = change if previous.ended_at is not None else previous
    return replace(
        change,
        key_algorithm=key_of.key_algorithm,
        key_blob_base64=key_of.key_blob_base64,
        key_fingerprint=key_of.key_fingerprint,
        last_discovery_at=access_of.last_discovery_at,
        nodes_ready=access_of.nodes_ready,
        nodes_failed=access_of.nodes_failed,
        access_until=access_of.access_until,
    )
