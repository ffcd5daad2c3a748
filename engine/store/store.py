"""Opening and closing the store: two databases, one lock, every repository."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import structlog
from sqlalchemy.ext.asyncio import create_async_engine

from engine.clock import Clock
from engine.errors import StoreUnusable
from engine.filelock import FileLock
from engine.store import sqlite
from engine.store.admissions import AdmissionRepository
from engine.store.alerts import AlertRepository
from engine.store.audit import AuditRepository
from engine.store.database import Database, Observer
from engine.store.direct import DirectConnection
from engine.store.eventlog import EventLog, EventWriter
from engine.store.failures import StoreDamaged, translated
from engine.store.grants import GrantRepository
from engine.store.history import HistoryRepository
from engine.store.keyvalue import KeyValueRepository
from engine.store.migrate import EVENTS_SCHEMA, STATE_SCHEMA, Schema, inspect, migrate
from engine.store.node_health import NodeHealthRepository
from engine.store.nodes import NodeRepository
from engine.store.nonces import NonceRepository
from engine.store.openings import OpeningRepository
from engine.store.sessions import SessionRepository
from engine.store.url import SqliteFiles, parse_url
from engine.store.validated import ValidatedRepository
from engine.store.verifications import VerificationRepository
from engine.store.weights import WeightRepository

log = structlog.get_logger()

FILE_CHECK_S = 60.0
FLUSH_S = 5.0
EVENTS_CHECK_LIMIT_BYTES = 64 * 1024 * 1024
"""A larger event log is opened unchecked: reading all of it would delay the start by seconds."""


class Store:
    """Everything that the engine remembers. Made by ``open_store``; ``close`` it always."""

    def __init__(
        self, state: Database, events: Database, *, clock: Clock, files: SqliteFiles | None, lock: FileLock | None
    ) -> None:
        self._state = state
        self._events = events
        self._clock = clock
        self._files = files
        self._lock = lock
        self._inode = files.state.stat().st_ino if files is not None else 0
        self.grants = GrantRepository(state)
        self.nodes = NodeRepository(state)
        self.node_health = NodeHealthRepository(state)
        self.sessions = SessionRepository(state)
        self.nonces = NonceRepository(state)
        self.openings = OpeningRepository(state)
        self._direct = None if files is None else DirectConnection(files.state)
        self.admissions = AdmissionRepository(state, self._direct, self.nonces, self.sessions, self.openings)
        self.keyvalue = KeyValueRepository(state)
        self.verifications = VerificationRepository(state)
        self.validated = ValidatedRepository(state)
        self.weights = WeightRepository(state)
        self.audit = AuditRepository(state)
        self.alerts = AlertRepository(state)
        self.events = EventLog(events, EventWriter(events, clock))
        self.history = HistoryRepository(events)

    def observe(self, observer: Observer) -> None:
        """Have every operation of both databases told to ``observer``; it must not raise."""
        self._state.observe = self._events.observe = observer

    @property
    def connections_active(self) -> int:
        """Database connections in use at this moment."""
        databases = {id(it.engine): it for it in (self._state, self._events)}
        return sum(it.connections_active for it in databases.values())

    def check_files(self) -> None:
        """Raise StoreUnusable when the database file was deleted or replaced: writes to it would be lost."""
        if self._files is None:
            return
        path = self._files.state
        try:
            is_ours = path.stat().st_ino == self._inode
        except OSError:
            is_ours = False
        if not is_ours:
            raise StoreUnusable(
                f"database {path} was deleted or replaced while in use",
                hint="restart the engine: it reads what is on the nodes and starts from there",
            )

    async def watch(self) -> None:
        """Look after the file for as long as the engine runs; a service.

        Raises:
            StoreUnusable: see ``check_files``.
        """
        while True:
            await self._clock.sleep(FILE_CHECK_S)
            self.check_files()

    async def close(self) -> None:
        """Store what is queued, finish what runs, shrink the journals, let the files go. Safe to call twice."""
        try:
            await self._finish()
        finally:
            try:
                await asyncio.gather(self._state.close(), self._events.close())
                if self._direct is not None:
                    await self._direct.close()
            finally:
                if self._lock is not None:
                    self._lock.release()

    async def _finish(self) -> None:
        if self._state.is_closed:
            return
        await asyncio.gather(self.sessions.flush(), self.nonces.flush())
        try:
            async with asyncio.timeout(FLUSH_S):
                await self.events.flush()
            if self._files is not None:
                for database in (self._state, self._events):
                    with translated(database.name):
                        await sqlite.truncate_journal(database.engine)
        except (StoreUnusable, TimeoutError) as error:
            log.warning("store.closed_unclean", error=str(error) or "took too long", queued=len(self.events.writer))


async def open_store(url: str, *, clock: Clock) -> Store:
    """Open or create the store at ``sqlite:PATH`` or ``postgresql://…`` and bring its tables up to date.

    Raises:
        StoreUnusable: damaged, newer than this program, read-only, full, or not reachable.
        EngineAlreadyRunning: another engine has this database open.
    """
    place = parse_url(url)
    if not isinstance(place, SqliteFiles):
        return await _open_postgres(place.url, clock)
    sqlite.prepare_directory(place.state.parent)
    lock = FileLock(place.lock)
    with translated(str(place.lock)):
        lock.acquire(f"database {place.state}")
    try:
        return await _open_sqlite(place, lock, clock)
    except BaseException:
        lock.release()
        raise


async def _open_sqlite(files: SqliteFiles, lock: FileLock, clock: Clock) -> Store:
    sqlite.prepare_file(files.state)
    state = Database(
        sqlite.open_engine(files.state, synchronous="FULL"),
        str(files.state),
        relieve=lambda: sqlite.drop_ballast(files.ballast),
    )
    try:
        await sqlite.check_integrity(state.engine, files.state)
        await _bring_up_to_date(state, STATE_SCHEMA, files.state)
        events = await _open_events(files.events, clock)
    except BaseException:
        await state.close()
        raise
    sqlite.lay_ballast(files.ballast)
    return Store(state, events, clock=clock, files=files, lock=lock)


async def _open_events(path: Path, clock: Clock) -> Database:
    try:
        return await _open_events_file(path)
    except StoreDamaged as error:
        # Losing history is no reason to leave nodes unattended: keep the damaged file, start a new one.
        aside = _set_aside(path, clock.now())
        log.error("store.event_log_set_aside", path=str(aside), error=str(error))
        return await _open_events_file(path)


async def _open_events_file(path: Path) -> Database:
    sqlite.prepare_file(path)
    database = Database(sqlite.open_engine(path, synchronous="NORMAL"), str(path))
    try:
        if _is_quick_to_check(path):
            await sqlite.check_integrity(database.engine, path)
        await _bring_up_to_date(database, EVENTS_SCHEMA, path)
    except BaseException:
        await database.close()
        raise
    return database


def _is_quick_to_check(path: Path) -> bool:
    return path.stat().st_size <= EVENTS_CHECK_LIMIT_BYTES


def _set_aside(path: Path, now: float) -> Path:
    stamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
    aside = path.with_name(f"{path.name}.damaged-{stamp}")
    with translated(str(path)):
        path.rename(aside)
        for suffix in ("-wal", "-shm"):
            journal = path.with_name(path.name + suffix)
            if journal.exists():
                journal.rename(aside.with_name(aside.name + suffix))
    return aside


async def _bring_up_to_date(database: Database, schema: Schema, path: Path | None) -> None:
    found = await inspect(database, schema)
    if found.revision == schema.head:
        return
    if path is not None and found.has_tables:
        backup = path.with_name(f"{path.name}.before-{schema.head}")
        if not backup.exists():
            with translated(str(backup)):
                await sqlite.copy_to(database.engine, backup)
                backup.chmod(0o600)
            log.info("store.backed_up", path=str(backup))
    await migrate(database, schema, found)


async def _open_postgres(url: str, clock: Clock) -> Store:
    with translated("PostgreSQL"):
        engine = create_async_engine(url, pool_size=3, max_overflow=0, pool_pre_ping=True)
    name = engine.url.render_as_string(hide_password=True)
    state, events = Database(engine, name), Database(engine, name)
    try:
        await _bring_up_to_date(state, STATE_SCHEMA, None)
        await _bring_up_to_date(events, EVENTS_SCHEMA, None)
    except BaseException:
        await state.close()
        raise
    return Store(state, events, clock=clock, files=None, lock=None)
