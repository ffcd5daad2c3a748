"""The event log: a queueing writer that never makes a service wait, and reading for history and recordings."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import json
from collections import deque
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.clock import Clock
from engine.errors import StoreUnusable
from engine.events import Event, event_from_record, event_to_record
from engine.store.bulk import BulkInsert
from engine.store.database import Database
from engine.store.readers import Reading
from engine.store.tables import events

log = structlog.get_logger()

BATCH_ROWS = 500
BATCH_DELAY_S = 0.2
"""What a crash may take of the log; grants and nonces do not wait for it."""
QUEUE_ROWS = 20_000
RETENTION_S = 14 * 86_400.0
RETENTION_ROWS = 1_000_000
RETENTION_EVERY_S = 600.0
DELETE_ROWS = 500
RETRY_S = 5.0
_ENCODER = json.JSONEncoder(separators=(",", ":"), default=str)


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """One row of the log; ``record`` is what ``event_to_record`` made, so unknown kinds can be read as well."""

    id: int
    at: float
    kind: str
    severity: str
    record: Mapping[str, object]

    def event(self) -> Event | None:
        """The event itself, None when this version does not know its kind."""
        return event_from_record(self.record)


class EventQueue:
    """A bounded queue in order of arrival that gives up its oldest debug event first when it is full."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._arrivals = itertools.count(1)
        self._debug: deque[tuple[int, Event]] = deque()
        self._others: deque[tuple[int, Event]] = deque()
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._debug) + len(self._others)

    def append(self, event: Event) -> None:
        """Add one, dropping another if need be."""
        if len(self) >= self._rows:
            (self._debug or self._others).popleft()
            self.dropped += 1
        (self._debug if event.severity == "debug" else self._others).append((next(self._arrivals), event))

    def oldest(self, count: int) -> tuple[list[Event], int]:
        """The next events in order, left in the queue, and the arrival number of the last of them."""
        merged = heapq.merge(self._debug, self._others, key=itemgetter(0))
        first = list(itertools.islice(merged, count))
        return [event for _, event in first], first[-1][0] if first else 0

    def forget(self, last: int) -> None:
        """Take out everything up to this arrival number."""
        for part in (self._debug, self._others):
            while part and part[0][0] <= last:
                part.popleft()


class EventWriter:
    """Takes events at once and stores them in batches. What does not fit is dropped, debug first, and counted."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        queue_rows: int = QUEUE_ROWS,
        retention_s: float = RETENTION_S,
        retention_rows: int = RETENTION_ROWS,
    ) -> None:
        self._database = database
        self._clock = clock
        self._retention_s = retention_s
        self._retention_rows = retention_rows
        self._queue = EventQueue(queue_rows)
        self._arrived = asyncio.Event()
        self._filled = asyncio.Event()
        self._storing = asyncio.Lock()
        self._pruned_at: float | None = None

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def dropped(self) -> int:
        """Events that were never stored because the queue was full."""
        return self._queue.dropped

    def append(self, event: Event) -> None:
        """Queue one event; from the event loop's thread only."""
        self._queue.append(event)
        self._arrived.set()
        if len(self._queue) >= BATCH_ROWS:
            self._filled.set()

    async def run(self) -> None:
        """Store what arrives, for ever. A database that fails is tried again; the log never stops the engine."""
        while True:
            await self._arrived.wait()
            try:
                async with asyncio.timeout(BATCH_DELAY_S):
                    await self._filled.wait()
            except TimeoutError:
                pass
            try:
                await self._store_batch()
                await self._prune_when_due()
            except StoreUnusable as error:
                log.error("events.not_stored", error=str(error), queued=len(self._queue), dropped=self.dropped)
                await self._clock.sleep(RETRY_S)

    async def flush(self) -> None:
        """Store everything that is queued.

        Raises:
            StoreUnusable: the database failed; the events stay queued.
        """
        while self._queue:
            await self._store_batch()

    async def prune(self) -> int:
        """Delete what is too old or too much, a little at a time so that nobody waits long; returns how many."""
        deleted = 0
        while count := await self._database.write(self._prune_some):
            deleted += count
            await asyncio.sleep(0)
        return deleted

    async def _store_batch(self) -> None:
        async with self._storing:
            batch, last = self._queue.oldest(BATCH_ROWS)
            if batch:
                rows = [_row(event) for event in batch]
                stored = asyncio.ensure_future(_EVENTS.store(self._database, rows))
                # A cancelled writer must still learn whether the rows are in, or flush would store them twice.
                try:
                    await asyncio.shield(stored)
                except asyncio.CancelledError:
                    await asyncio.wait([stored])
                    if stored.exception() is None:
                        self._queue.forget(last)
                    raise
                self._queue.forget(last)
            if len(self._queue) < BATCH_ROWS:
                self._filled.clear()
            if not self._queue:
                self._arrived.clear()

    async def _prune_when_due(self) -> None:
        now = self._clock.monotonic()
        if self._pruned_at is None or now - self._pruned_at >= RETENTION_EVERY_S:
            self._pruned_at = now
            await self.prune()

    async def _prune_some(self, connection: AsyncConnection) -> int:
        newest = (await connection.execute(sa.select(sa.func.max(events.c.id)))).scalar() or 0
        is_old = sa.or_(
            events.c.at < self._clock.now() - self._retention_s, events.c.id <= newest - self._retention_rows
        )
        some = sa.select(events.c.id).where(is_old).order_by(events.c.id).limit(DELETE_ROWS)
        result = await connection.execute(sa.delete(events).where(events.c.id.in_(some)))
        return result.rowcount


class EventLog:
    """Writing through the queue, reading newest first or in order."""

    def __init__(self, database: Database, writer: EventWriter) -> None:
        self._database = database
        self.writer = writer

    def append(self, event: Event) -> None:
        """Queue one event; from the event loop's thread only."""
        self.writer.append(event)

    async def run(self) -> None:
        """The writer's service."""
        await self.writer.run()

    async def flush(self) -> None:
        """Store everything that is queued."""
        await self.writer.flush()

    async def recent(self, limit: int, kinds: Collection[str] | None = None) -> list[StoredEvent]:
        """The last stored events, newest first; of these kinds only, if given."""
        statement = sa.select(events).order_by(events.c.id.desc()).limit(limit)
        if kinds is not None:
            statement = statement.where(events.c.kind.in_(list(kinds)))
        return await self._select(statement)

    async def since(self, at: float, *, limit: int = 10_000) -> list[StoredEvent]:
        """Events of that time and later, in the order in which they were stored."""
        return await self._select(sa.select(events).where(events.c.at >= at).order_by(events.c.id).limit(limit))

    async def about(self, subject: str, kinds: Collection[str], limit: int) -> list[StoredEvent]:
        """The last events of these kinds that name an object (all of them without one), newest first."""
        statement = sa.select(events).where(events.c.kind.in_(list(kinds))).order_by(events.c.id.desc()).limit(limit)
        if subject:
            # Ids and hotkeys have no characters that JSON or LIKE would treat in their own way.
            statement = statement.where(events.c.record.contains(f'"{subject}"', autoescape=True))
        return await self._select(statement)

    async def iterate(self, *, after_id: int = 0, page: int = 1_000) -> AsyncIterator[StoredEvent]:
        """All events in order, a page at a time, so that no reader stays open and holds the journal."""
        while True:
            rows = await self._select(sa.select(events).where(events.c.id > after_id).order_by(events.c.id).limit(page))
            for row in rows:
                yield row
            if len(rows) < page:
                return
            after_id = rows[-1].id

    async def _select(self, statement: sa.Select[Any]) -> list[StoredEvent]:
        async def run(connection: Reading) -> list[StoredEvent]:
            return [
                StoredEvent(row.id, row.at, row.kind, row.severity, json.loads(row.record))
                for row in await connection.execute(statement)
            ]

        return await self._database.read(run)


_EVENTS = BulkInsert(events, ("at", "kind", "severity", "record"))


def _row(event: Event) -> tuple[float, str, str, str]:
    return event.at, event.kind, event.severity, _ENCODER.encode(event_to_record(event))
