"""When each node is visited: at its interval, at each expiry, and when woken; slow nodes never hold up the others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

from engine.clock import Clock, sleep_or_wake
from engine.errors import BasilicaError
from engine.miner.grants import next_change_at
from engine.miner.node_work import Limits, Work
from engine.ssh.target import NodeTarget
from engine.store.grants import GrantRepository
from engine.store.records import Grant

CONCURRENT_NODES = 64
"""In the calls of others; as many again in the background, so that neither waits for the other's nodes."""


class ReconcileLoop:
    """Starts visits, and removals beside those that take long."""

    def __init__(
        self,
        targets: Mapping[str, NodeTarget],
        work: Mapping[str, Work],
        grants: GrantRepository,
        limits: Limits,
        visit: Callable[[str], Awaitable[object]],
        take_away: Callable[[str], Awaitable[BasilicaError | None]],
        slots: asyncio.Semaphore,
        *,
        clock: Clock,
    ) -> None:
        self._targets = targets
        self._work = work
        self._grants = grants
        self._limits = limits
        self._reconcile = visit
        self._take_away = take_away
        self._clock = clock
        self._wake = asyncio.Event()
        self._slots = slots
        self._background_slots = asyncio.Semaphore(CONCURRENT_NODES)

    def wake(self) -> None:
        """Rows changed: look again now, not at the next interval."""
        self._wake.set()

    async def run(self) -> None:
        """Look for unfinished work at each interval, at each expiry, and when woken; audit idle nodes.

        A node that is slow to get to know is visited on while the others' turns go on; what ends there meanwhile is
        taken off beside that visit.
        """
        async with asyncio.TaskGroup() as visits:
            while True:
                started: list[asyncio.Task[None]] = []
                due, ended = await self._due()
                for node_id in due:
                    work = self._work[node_id]
                    waits = work.is_visited or self._background_slots.locked()
                    if not work.is_visited:
                        work.is_visited = True
                        started.append(visits.create_task(self._visit(node_id, work)))
                    if waits and node_id in ended and not work.is_relieved and not work.file.locked():
                        work.is_relieved = True
                        started.append(visits.create_task(self._relieve(node_id, work)))
                if not started or await self._are_over(started):
                    await sleep_or_wake(self._clock, await self._until_next_s(), self._wake)

    async def sweep(self) -> None:
        """Take everything that ended off every node that is not backing off, all at once within their deadlines."""
        _, ended = await self._due()

        async def one(node_id: str) -> None:
            async with self._slots:
                if node_id in self._targets:
                    await self._take_away(node_id)

        async with asyncio.TaskGroup() as group:
            for node_id in ended:
                group.create_task(one(node_id))

    async def _visit(self, node_id: str, work: Work) -> None:
        try:
            async with self._background_slots:
                if node_id in self._targets:  # else it was forgotten while it waited for its turn
                    await self._reconcile(node_id)
        finally:
            work.is_visited = False

    async def _relieve(self, node_id: str, work: Work) -> None:
        try:
            async with self._slots:  # those of the background may all be with slow nodes
                if work.is_visited and node_id in self._targets:
                    await self._take_away(node_id)
        finally:
            work.is_relieved = False

    async def _are_over(self, started: Sequence[asyncio.Task[None]]) -> bool:
        """Wait for these; False when something else is to be done before they all have come to their end."""
        over = asyncio.ensure_future(asyncio.wait(started))
        waker = asyncio.ensure_future(self._wake.wait())
        try:
            limit_s = min(self._limits.node_deadline_s, await self._until_next_s())
            await asyncio.wait({over, waker}, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
            if over.done():
                return True
        finally:
            over.cancel()
            waker.cancel()
        self._wake.clear()
        for task in started:
            if not task.done():
                task.add_done_callback(lambda _: self._wake.set())  # its rows may have changed under it
        return False

    async def _due(self) -> tuple[list[str], frozenset[str]]:
        """Nodes with something to do now, and those among them from which something has to go."""
        now = self._clock.now()
        rows = await self._grants.open()
        by_node: dict[str, list[Grant]] = {node_id: [] for node_id in self._targets}
        for grant in rows:
            by_node.setdefault(grant.node_id, []).append(grant)
        due = [node_id for node_id, grants in by_node.items() if self._is_due(node_id, grants, now)]
        damaged = self._grants.damaged_on
        return due, frozenset(i for i in due if i in damaged or any(not g.is_wanted(now) for g in by_node[i]))

    async def _until_next_s(self) -> float:
        now = self._clock.now()
        change_at = next_change_at(await self._grants.open(), now)
        return (
            self._limits.interval_s
            if change_at is None
            else min(self._limits.interval_s, max(0.05, change_at - now + 0.05))
        )

    def _is_due(self, node_id: str, grants: Sequence[Grant], now: float) -> bool:
        work = self._work.get(node_id)
        if work is None:
            return False
        at = self._clock.monotonic()
        if node_id in self._grants.damaged_on and work.backoff.is_ready(at):
            return True
        return work.is_due(grants, now, at, self._limits.audit_interval_s)
