"""The audit log as a service: entries queue here and are linked into the chain, durably, in the order they came."""

from __future__ import annotations

import asyncio
from collections import deque

import structlog

from engine.clock import Clock, sleep_or_wake
from engine.errors import StoreUnusable
from engine.events import AuditAnchored, AuditBroken, CallRefused, Event, EventSink
from engine.observe.audit_chain import Anchor, Entry, hash_of, link_all
from engine.observe.audit_entries import RefusalGate, entry_of
from engine.store.audit import AuditRepository
from engine.store.eventlog import EventLog
from engine.store.records import AuditRecord

log = structlog.get_logger()

QUEUE_ENTRIES = 50_000
BATCH = 500
COLLECT_S = 0.1
IDLE_S = 5.0
RETRY_S = 5.0
ANCHOR_EVERY_S = 3600.0


class AuditLog:
    """One writer of the chain. ``listen`` is subscribed to the bus and never waits; ``run`` is a service."""

    def __init__(self, records: AuditRepository, events: EventLog, *, clock: Clock, emit: EventSink) -> None:
        self._records = records
        self._events = events
        self._clock = clock
        self._emit = emit
        self._queue: deque[Entry] = deque()
        self._gate = RefusalGate()
        self._arrived = asyncio.Event()
        self._storing = asyncio.Lock()
        self._head: AuditRecord | None = None
        self._lost = 0
        self._bytes = 0
        self._anchored_at: float | None = None
        self._anchored_seq = 0

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def head(self) -> AuditRecord | None:
        """The newest record that is stored for good."""
        return self._head

    def listen(self, event: Event) -> None:
        """Queue what is a matter of record. A queue that overflows loses the newest, and says so in the chain."""
        if isinstance(event, CallRefused):
            entries = self._gate.admit(event, event.at)
        else:
            entry = entry_of(event)
            entries = [] if entry is None else [entry]
        for entry in entries:
            self._put(entry)

    async def start(self) -> None:
        """Find the end of the chain and compare it with what an earlier run wrote down elsewhere.

        Raises:
            StoreUnusable: it cannot be read.
        """
        self._head = await self._records.head()
        self._bytes = (await self._records.size()).bytes
        finding = await self._check_head()
        if finding is not None:
            log.error("audit.broken", seq=finding[0], reason=finding[1])
            self._emit(AuditBroken(at=self._clock.now(), seq=finding[0], reason=finding[1]))

    async def run(self) -> None:
        """Store what comes, and write the head down every hour, for ever."""
        while True:
            try:
                await self._store_all()
                self._anchor_when_due()
            except StoreUnusable as error:
                log.error("audit.not_stored", error=str(error), queued=len(self._queue))
                await self._clock.sleep(RETRY_S)
                continue
            stored_at = asyncio.get_running_loop().time()
            await sleep_or_wake(self._clock, IDLE_S, self._arrived)
            if asyncio.get_running_loop().time() - stored_at < COLLECT_S:
                await asyncio.sleep(COLLECT_S)  # a crowd shares one transaction; who comes alone does not wait

    async def close(self) -> None:
        """Store what is queued and write the head down a last time.

        Raises:
            StoreUnusable: the database failed; what was queued is lost, and the chain is whole without it.
        """
        for entry in self._gate.flush(self._clock.now(), is_last=True):
            self._put(entry)
        await self._store_all()
        self.anchor()

    def anchor(self) -> None:
        """Write the head down outside the chain: in the structured log and in the event log."""
        head = self._head
        if head is None:
            return
        self._anchored_at, self._anchored_seq = self._clock.monotonic(), head.seq
        self._emit(
            AuditAnchored(at=self._clock.now(), seq=head.seq, head=head.hash, records=head.seq, bytes=self._bytes)
        )

    def _put(self, entry: Entry) -> None:
        if len(self._queue) >= QUEUE_ENTRIES:
            self._lost += 1
            return
        self._queue.append(entry)
        self._arrived.set()

    async def _store_all(self) -> None:
        for entry in self._gate.flush(self._clock.now()):
            self._put(entry)
        while self._queue:
            async with self._storing:
                await self._store_batch()
        if self._lost:
            lost, self._lost = self._lost, 0
            self._put(
                Entry(
                    self._clock.now(), "audit.lost", "engine", "", f"{lost} entries were not recorded", {"lost": lost}
                )
            )

    async def _store_batch(self) -> None:
        entries = [self._queue[index] for index in range(min(BATCH, len(self._queue)))]
        if not entries:
            return
        records = list(link_all(entries, self._head))
        # A cancelled writer must still learn whether the rows are in, or the next one would link to the wrong head.
        stored = asyncio.ensure_future(self._records.append(records))
        try:
            await asyncio.shield(stored)
        except asyncio.CancelledError:
            await asyncio.wait([stored])
            if stored.exception() is None:
                self._advance(records)
            raise
        self._advance(records)

    def _advance(self, records: list[AuditRecord]) -> None:
        for record in records:
            self._queue.popleft()
            self._bytes += sum(map(len, (record.kind, record.actor, record.subject, record.outcome, record.details)))
        self._head = records[-1]

    def _anchor_when_due(self) -> None:
        now = self._clock.monotonic()
        if self._head is None or self._head.seq == self._anchored_seq:
            return
        if self._anchored_at is None or now - self._anchored_at >= ANCHOR_EVERY_S:
            self.anchor()

    async def _check_head(self) -> tuple[int, str] | None:
        head = self._head
        if head is not None and hash_of(head) != head.hash:
            return head.seq, "the last record does not fit its hash"
        anchor = await last_anchor(self._events)
        if anchor is None:
            return None
        if head is None or head.seq < anchor.seq:
            seq = 1 if head is None else head.seq + 1
            return seq, f"the end was cut off: the chain once reached record {anchor.seq}"
        there = await self._records.get(anchor.seq)
        if there is None:
            return anchor.seq, f"record {anchor.seq} is missing"
        if there.hash != anchor.hash:
            return anchor.seq, f"record {anchor.seq} is not the one that was written"
        return None


async def last_anchor(events: EventLog) -> Anchor | None:
    """The newest head that the event log holds."""
    for stored in await events.recent(1, ["audit.anchored"]):
        event = stored.event()
        if isinstance(event, AuditAnchored):
            return Anchor(event.seq, event.head, event.at)
    return None
