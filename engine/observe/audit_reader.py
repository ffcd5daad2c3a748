"""Reading an audit log from its database, read-only, with or without a running engine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from engine.clock import SystemClock
from engine.errors import AuditUnreadable, StoreUnusable
from engine.events import AuditAnchored
from engine.observe.audit_chain import Anchor, Verdict, Verifier
from engine.store.audit import AuditRepository
from engine.store.eventlog import EventLog, EventWriter
from engine.store.reading import open_reading
from engine.store.records import AuditRecord

_HINT = "name the database with --database, or the engine's configuration with --config"


@dataclass(frozen=True, slots=True)
class AuditReader:
    """An open audit log and, where there is one, the event log beside it, which holds the chain's anchors."""

    records: AuditRepository
    events: EventLog | None

    async def verify(self, anchors: Iterable[Anchor] = ()) -> Verdict:
        """Read everything and find the first place where the chain does not hold.

        ``anchors`` are heads from elsewhere, such as the structured log; those of the event log are added.
        Raises AuditUnreadable.
        """
        try:
            verifier = Verifier([*anchors, *await self._anchors()])
            async for record in self.records.iterate():
                verifier.add(record)
        except StoreUnusable as error:
            raise AuditUnreadable(f"the audit log cannot be read: {error.message}", hint=_HINT) from error
        return verifier.finish()

    async def since(self, at: float | None) -> AsyncIterator[AuditRecord]:
        """Records from that time on, in order. Raises AuditUnreadable."""
        try:
            async for record in self.records.iterate(since=at):
                yield record
        except StoreUnusable as error:
            raise AuditUnreadable(f"the audit log cannot be read: {error.message}", hint=_HINT) from error

    async def _anchors(self) -> list[Anchor]:
        if self.events is None:
            return []
        try:
            found = [stored.event() for stored in await self.events.recent(100_000, [AuditAnchored.kind])]
        except StoreUnusable:
            return []  # an event log that is damaged or of another make proves nothing either way
        return [Anchor(event.seq, event.head, event.at) for event in found if isinstance(event, AuditAnchored)]


@asynccontextmanager
async def open_audit(url: str) -> AsyncIterator[AuditReader]:
    """Open the audit log of a store by its URL; nothing is written, locked or migrated.

    Raises:
        AuditUnreadable: there is no such database, or the URL names none.
    """
    async with AsyncExitStack() as closing:
        try:
            state, events = await closing.enter_async_context(open_reading(url))
        except StoreUnusable as error:
            raise AuditUnreadable(error.message, hint=error.hint or _HINT) from error
        log = None if events is None else EventLog(events, EventWriter(events, SystemClock()))
        yield AuditReader(AuditRepository(state), log)
