"""Opening the store in SQLite: two files, a lock, a copy before each migration, a damaged event log set aside."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import structlog

from engine.clock import Clock
from engine.errors import StoreUnusable
from engine.filelock import FileLock
from engine.store import sqlite
from engine.store.database import Database
from engine.store.direct import DirectConnection
from engine.store.failures import StoreDamaged, translated
from engine.store.keeper import Opened
from engine.store.migrate import EVENTS_SCHEMA, STATE_SCHEMA, Schema, inspect, migrate
from engine.store.tables import verifications
from engine.store.url import SqliteFiles

log = structlog.get_logger()

EVENTS_CHECK_LIMIT_BYTES = 64 * 1024 * 1024
"""A larger event log is opened unchecked: reading all of it would delay the start by seconds."""


class FileKeeper:
    """Holds the lock beside the files and notices when they are taken away."""

    check_every_s = 60.0

    def __init__(self, files: SqliteFiles, lock: FileLock, databases: tuple[Database, Database]) -> None:
        self._files = files
        self._lock = lock
        self._databases = databases
        self._inode = files.state.stat().st_ino

    async def check(self) -> None:
        """Raise StoreUnusable when the database file was deleted or replaced: writes to it would be lost."""
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

    async def settle(self) -> None:
        """Shrink the journals."""
        for database in self._databases:
            with translated(database.name):
                await sqlite.truncate_journal(database.engine)

    async def release(self) -> None:
        """Let the lock go."""
        self._lock.release()


async def open_files(files: SqliteFiles, clock: Clock, *, may_migrate: bool) -> Opened:
    """Open or create the files.

    Raises:
        StoreUnusable: damaged, newer than this program, read-only or full.
        EngineAlreadyRunning: another engine has them open.
    """
    sqlite.prepare_directory(files.state.parent)
    lock = FileLock(files.lock)
    with translated(str(files.lock)):
        lock.acquire(f"database {files.state}")
    try:
        return await _open(files, lock, clock, may_migrate=may_migrate)
    except BaseException:
        lock.release()
        raise


async def _open(files: SqliteFiles, lock: FileLock, clock: Clock, *, may_migrate: bool) -> Opened:
    sqlite.prepare_file(files.state)
    state = Database(
        sqlite.open_engine(files.state, synchronous="FULL"),
        str(files.state),
        relieve=lambda: sqlite.drop_ballast(files.ballast),
        direct=DirectConnection(files.state),
        readers=sqlite.open_readers(files.state, synchronous="FULL"),
    )
    try:
        await sqlite.check_integrity(state.engine, files.state, history=(verifications.name,))
        await _bring_up_to_date(state, STATE_SCHEMA, files.state, may_migrate=may_migrate)
        events = await _open_events(files.events, clock)
    except BaseException:
        await state.close()
        raise
    sqlite.lay_ballast(files.ballast)
    return Opened(state, events, FileKeeper(files, lock, (state, events)))


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
    database = Database(
        sqlite.open_engine(path, synchronous="NORMAL"),
        str(path),
        direct=DirectConnection(path, "NORMAL"),
        readers=sqlite.open_readers(path, synchronous="NORMAL"),
    )
    try:
        if _is_quick_to_check(path):
            await sqlite.check_integrity(database.engine, path)
        await _bring_up_to_date(database, EVENTS_SCHEMA, path, may_migrate=True)
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


async def _bring_up_to_date(database: Database, schema: Schema, path: Path, *, may_migrate: bool) -> None:
    found = await inspect(database, schema)
    if found.revision != schema.head and found.has_tables and may_migrate:
        backup = path.with_name(f"{path.name}.before-{schema.head}")
        if not backup.exists():
            with translated(str(backup)):
                await sqlite.copy_to(database.engine, backup)
            log.info("store.backed_up", path=str(backup))
    await migrate(database, schema, found, may_migrate=may_migrate)
