"""The SSH key of each session with a miner: made in memory, renewed by every discovery, wiped when the session is over.

A session is what a miner counts as one: our hotkey with one key, for as long as access lasts. A new key costs the miner
a rewrite of every node's key file and counts against its limits, so a session goes on over many visits.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from engine.clock import Clock
from engine.ssh.keys import ClientKey
from engine.ssh.pool import NodePool


@dataclass(slots=True, eq=False)
class Session:
    """One miner's session. ``opened`` are the nodes that the miner opened to its key."""

    key: ClientKey
    pool: NodePool
    began: float
    opened: set[str] = field(default_factory=set)
    users: int = 0


class Sessions:
    """By miner hotkey. ``persistent`` is the configured key, which all sessions share and nobody wipes."""

    def __init__(
        self, base: NodePool, own_hotkey: str, *, clock: Clock, lifetime_s: float, persistent: ClientKey | None
    ) -> None:
        self._base = base
        self._own_hotkey = own_hotkey
        self._clock = clock
        self._lifetime_s = lifetime_s
        self._persistent = persistent
        self._sessions: dict[str, Session] = {}

    @asynccontextmanager
    async def entered(self, miner_hotkey: str) -> AsyncIterator[Session]:
        """The miner's session, new when there is none or the last one is over and idle."""
        current = self._sessions.get(miner_hotkey)
        if current is not None and self._is_over(current):
            await self._end(miner_hotkey, current)
            current = self._sessions.get(miner_hotkey)
        if current is None:
            current = self._sessions[miner_hotkey] = self._new()
        async with self.held(current):
            yield current

    @asynccontextmanager
    async def held(self, session: Session) -> AsyncIterator[None]:
        """The session does not end meanwhile."""
        session.users += 1
        try:
            yield
        finally:
            session.users -= 1

    async def sweep(self) -> None:
        """End what is over, also of miners that are not visited any more."""
        for hotkey, session in tuple(self._sessions.items()):
            if self._is_over(session):
                await self._end(hotkey, session)

    async def close(self) -> None:
        """End all."""
        for hotkey, session in tuple(self._sessions.items()):
            await self._end(hotkey, session)
        await self._base.close()

    def _new(self) -> Session:
        if self._persistent is not None:
            return Session(self._persistent, self._base, self._clock.monotonic())
        key = ClientKey.generate(f"validator-{self._own_hotkey}")
        return Session(key, self._base.sibling(key), self._clock.monotonic())

    def _is_over(self, session: Session) -> bool:
        return session.users == 0 and self._clock.monotonic() - session.began >= self._lifetime_s

    async def _end(self, hotkey: str, session: Session) -> None:
        if self._sessions.get(hotkey) is session:
            del self._sessions[hotkey]
        if session.key is not self._persistent:
            await session.pool.close()
            session.key.wipe()
