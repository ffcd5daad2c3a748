"""Opening and closing the store: two databases, one lock, every repository."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar

import structlog

from engine.clock import Clock
from engine.errors import StoreUnusable
from engine.store.admissions import AdmissionRepository
from engine.store.alerts import AlertRepository
from engine.store.api_keys import ApiKeyRepository
from engine.store.audit import AuditRepository
from engine.store.checks import CheckWriter, Question, Settlement, Standing
from engine.store.database import Observer
from engine.store.eventlog import EventLog, EventWriter
from engine.store.grants import GrantRepository
from engine.store.history import HistoryRepository
from engine.store.keeper import Opened
from engine.store.keyvalue import KeyValueRepository
from engine.store.node_health import NodeHealthRepository
from engine.store.nodes import NodeRepository
from engine.store.nonces import NonceRepository
from engine.store.openings import OpeningRepository
from engine.store.rentals import RentalRepository
from engine.store.score_hours import ScoreHours
from engine.store.sessions import SessionRepository
from engine.store.sqlite_store import open_files
from engine.store.url import SqliteFiles, parse_url
from engine.store.validated import ValidatedRepository
from engine.store.verifications import VerificationRepository
from engine.store.weights import WeightRepository

log = structlog.get_logger()

C = TypeVar("C")

FLUSH_S = 5.0


class Store:
    """Everything that the engine remembers. Made by ``open_store``; ``close`` it always."""

    def __init__(self, opened: Opened, *, clock: Clock) -> None:
        state = self._state = opened.state
        events = self._events = opened.events
        self._keeper = opened.keeper
        self._clock = clock
        self.grants = GrantRepository(state)
        self.nodes = NodeRepository(state)
        self.node_health = NodeHealthRepository(state)
        self.sessions = SessionRepository(state)
        self.nonces = NonceRepository(state)
        self.openings = OpeningRepository(state)
        self.admissions = AdmissionRepository(state, self.nonces, self.sessions, self.openings)
        self.keyvalue = KeyValueRepository(state)
        self.verifications = VerificationRepository(state)
        self.score_hours = ScoreHours(state)
        self.validated = ValidatedRepository(state)
        self.rentals = RentalRepository(state)
        self.weights = WeightRepository(state)
        self.audit = AuditRepository(state)
        self.alerts = AlertRepository(state)
        self.api_keys = ApiKeyRepository(state)
        self.events = EventLog(events, EventWriter(events, clock))
        self.history = HistoryRepository(events)

    def check_writer(
        self, ask: Callable[[C], Question], settle: Callable[[Standing, Sequence[C]], Settlement]
    ) -> CheckWriter[C]:
        """What records checks by these rules."""
        return CheckWriter(self._state, ask, settle)

    def observe(self, observer: Observer) -> None:
        """Have every operation of both databases told to ``observer``; it must not raise."""
        self._state.observe = self._events.observe = observer

    @property
    def connections_active(self) -> int:
        """Database connections in use at this moment."""
        databases = {id(it.engine): it for it in (self._state, self._events)}
        return sum(it.connections_active for it in databases.values())

    async def check(self) -> None:
        """Raise StoreUnusable when what is written would be lost: the file is gone, another engine is in charge."""
        await self._keeper.check()

    async def watch(self) -> None:
        """Look after the database for as long as the engine runs; a service.

        Raises:
            StoreUnusable: see ``check``.
        """
        while True:
            await self._clock.sleep(self._keeper.check_every_s)
            await self.check()

    async def close(self) -> None:
        """Store what is queued, finish what runs, leave the database to others. Safe to call twice."""
        try:
            await self._finish()
        finally:
            try:
                await asyncio.gather(self._state.close(), self._events.close())
            finally:
                await self._keeper.release()

    async def _finish(self) -> None:
        if self._state.is_closed:
            return
        await asyncio.gather(self.sessions.flush(), self.nonces.flush())
        try:
            async with asyncio.timeout(FLUSH_S):
                await self.events.flush()
            await self._keeper.settle()
        except (StoreUnusable, TimeoutError) as error:
            log.warning("store.closed_unclean", error=str(error) or "took too long", queued=len(self.events.writer))


async def open_store(
    url: str, *, clock: Clock, connect_timeout_s: float = 30.0, max_connections: int = 6, may_migrate: bool = True
) -> Store:
    """Open or create the store at ``sqlite:PATH`` or ``postgresql://…`` and bring its tables up to date.

    ``connect_timeout_s`` and ``max_connections`` are for PostgreSQL.

    Raises:
        StoreUnusable: damaged, newer than this program, read-only, full, not reachable, or older than this program
            and ``may_migrate`` is false.
        EngineAlreadyRunning: another engine has this database open.
    """
    place = parse_url(url)
    if isinstance(place, SqliteFiles):
        return Store(await open_files(place, clock, may_migrate=may_migrate), clock=clock)
    from engine.store.postgres_store import open_server  # noqa: PLC0415 - its driver is loaded where it is used

    opened = await open_server(
        place, connect_timeout_s=connect_timeout_s, most=max_connections, may_migrate=may_migrate
    )
    return Store(opened, clock=clock)
