"""Nodes that the operator took out of service: not handed out any more, checked as before. Survives a restart."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from engine.clock import Clock
from engine.events import EventSink, NodeDrained, NodeEnabled
from engine.store.keyvalue import KeyValueRepository

DRAINED_KEY = "miner.drained"


class DrainBook:
    """Which nodes are out, since when. What validators hold there ends at its own time, or at the operator's word."""

    def __init__(self, keyvalue: KeyValueRepository, *, clock: Clock, emit: EventSink) -> None:
        self._keyvalue = keyvalue
        self._clock = clock
        self._emit = emit
        self._since: dict[str, float] = {}
        self._changing = asyncio.Lock()

    async def restore(self, known: Iterable[str]) -> None:
        """Take over what the last run knew about nodes that are configured still. Raises StoreUnusable."""
        stored = await self._keyvalue.get(DRAINED_KEY)
        ids = frozenset(known)
        for node_id, since in stored.items() if isinstance(stored, dict) else ():
            if node_id in ids and isinstance(since, (int, float)):
                self._since[node_id] = float(since)
                self._emit(NodeDrained(at=self._clock.now(), node_id=node_id, since=float(since), restored=True))

    def is_out(self, node_id: str) -> bool:
        """Whether validators are not given this node."""
        return node_id in self._since

    async def drain(self, node_id: str) -> bool:
        """Take a node out; False when it was out already. Raises StoreUnusable; then nothing changed."""
        async with self._changing:
            if self.is_out(node_id):
                return False
            now = self._clock.now()
            await self._store({**self._since, node_id: now})
        self._emit(NodeDrained(at=now, node_id=node_id, since=now))
        return True

    async def enable(self, node_id: str) -> bool:
        """Take a node back into service; False when it was in. Raises StoreUnusable; then nothing changed."""
        async with self._changing:
            if not self.is_out(node_id):
                return False
            await self._store({known: since for known, since in self._since.items() if known != node_id})
        self._emit(NodeEnabled(at=self._clock.now(), node_id=node_id))
        return True

    async def _store(self, since: dict[str, float]) -> None:
        await self._keyvalue.put(DRAINED_KEY, since)
        self._since = since
