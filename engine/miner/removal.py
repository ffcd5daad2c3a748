"""Takes ended grants off one node, and ends what they opened. It needs no knowledge of what the node can do."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from engine.clock import Clock
from engine.errors import SshTimeout
from engine.miner.capabilities import split_rows
from engine.miner.grant_book import GrantBook
from engine.miner.grant_files import PlacementBook
from engine.miner.key_files import Order, Written, write
from engine.miner.live_sessions import LiveSessions
from engine.miner.node_work import Limits, Work
from engine.ssh.pool import NodePool
from engine.ssh.target import NodeTarget
from engine.store.records import Grant


class Removal:
    """What has to go goes: beside a visit that gets to know a slow node, and within each visit."""

    def __init__(
        self,
        pool: NodePool,
        book: GrantBook,
        sessions: LiveSessions,
        placements: PlacementBook,
        limits: Limits,
        *,
        clock: Clock,
    ) -> None:
        self._pool = pool
        self._book = book
        self._sessions = sessions
        self._placements = placements
        self._limits = limits
        self._clock = clock

    async def take_away(self, target: NodeTarget, work: Work) -> None:
        """Take off what has ended, and nothing else; the caller holds ``work.file``. Raises BasilicaError."""
        rows = await self._book.end_expired(target.node_id)
        live, gone = split_rows(rows, self._clock.now(), None)
        damaged = self._book.damaged_on(target.node_id)
        if not gone and not damaged:
            return
        work.taken += 1
        # Not what ran out by the clock without a row: that may be the trial line that must be refused, and be there.
        order = Order(
            (), damaged.union(g.id for g in gone), frozenset(), self._pool.own_blobs, 0.0, adopt_leftovers=False
        )
        written = await write(self._pool, target, await self._placements.of(target), order)
        await self.end_sessions(target, gone, live, written)
        if written.unfinished is not None:
            raise written.unfinished
        await self._book.removed(target.node_id, gone, damaged)

    async def end_sessions(
        self, target: NodeTarget, gone: Sequence[Grant], live: Sequence[Grant], written: Written
    ) -> None:
        """A removed key ends no session. Half of the node's time at most: its new keys must not wait for it."""
        try:
            async with asyncio.timeout(self._limits.node_deadline_s / 2):
                await self._sessions.end(target, gone, live, written.blobs)
        except TimeoutError:
            raise SshTimeout(
                f"sessions of ended grants on {target.address} were not ended in time",
                hint="it is tried again; see what runs there with: ps -u " + target.username,
            ) from None
