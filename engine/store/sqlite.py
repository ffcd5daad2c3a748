"""SQLite as the store needs it: files nobody else can read, durable settings, explicit transactions."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, QueuePool

from engine.store.failures import StoreDamaged, translated
from engine.store.readers import THREADS, Readers

BUSY_TIMEOUT_S = 5.0
JOURNAL_LIMIT_BYTES = 64 * 1024 * 1024
WHOLE_CHECK_BYTES = 256 * 1024 * 1024
BALLAST_BYTES = 1024 * 1024


def prepare_directory(directory: Path) -> None:
    """Create the data directory for us alone; one that exists is the operator's and stays as it is."""
    with translated(str(directory)):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)


def prepare_file(path: Path) -> None:
    """Make sure that the file exists and only its owner can read it: it holds session tokens.

    SQLite gives its journal files the same mode.
    """
    with translated(str(path)):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(descriptor).st_mode & 0o077:
                os.fchmod(descriptor, 0o600)
        finally:
            os.close(descriptor)


def pragmas(synchronous: Literal["FULL", "NORMAL"]) -> tuple[str, ...]:
    """The settings of every connection."""
    return (
        "journal_mode=WAL",
        f"synchronous={synchronous}",
        f"busy_timeout={int(BUSY_TIMEOUT_S * 1000)}",
        "foreign_keys=ON",
        "trusted_schema=OFF",
        f"journal_size_limit={JOURNAL_LIMIT_BYTES}",
    )


def open_engine(path: Path, *, synchronous: Literal["FULL", "NORMAL"]) -> AsyncEngine:
    """An engine for what writes. Each connection is a thread, and there is one writer at a time, so there are few."""
    url = sa.URL.create("sqlite+aiosqlite", database=str(path))
    engine = create_async_engine(
        url,
        # With isolation_level None the driver begins nothing by itself, so that BEGIN IMMEDIATE below is the only one.
        connect_args={"isolation_level": None, "timeout": BUSY_TIMEOUT_S},
        poolclass=AsyncAdaptedQueuePool,
        pool_size=2,
        max_overflow=0,
        pool_use_lifo=True,
        pool_timeout=30.0,
        hide_parameters=True,
    )
    _prepare_connections(engine.sync_engine, synchronous)
    return engine


def open_readers(path: Path, *, synchronous: Literal["FULL", "NORMAL"]) -> Readers:
    """Threads that read the same file."""
    engine = sa.create_engine(
        sa.URL.create("sqlite+pysqlite", database=str(path)),
        connect_args={"isolation_level": None, "timeout": BUSY_TIMEOUT_S, "check_same_thread": False},
        poolclass=QueuePool,
        pool_size=THREADS,
        max_overflow=0,
        pool_use_lifo=True,
        hide_parameters=True,
    )
    _prepare_connections(engine, synchronous)
    return Readers(engine)


def _prepare_connections(engine: sa.Engine, synchronous: Literal["FULL", "NORMAL"]) -> None:
    """Give every connection our settings, and every transaction its kind."""

    @sa.event.listens_for(engine, "connect")
    def set_pragmas(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        for pragma in pragmas(synchronous):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        # A deferred transaction that reads first and writes later fails at once when another wrote in between.
        kind = connection.get_execution_options().get("transaction", "read")
        if kind != "none":
            connection.exec_driver_sql("BEGIN IMMEDIATE" if kind == "write" else "BEGIN")


async def check_integrity(engine: AsyncEngine, path: Path, *, history: Collection[str] = ()) -> None:
    """Raise StoreDamaged when SQLite's own quick check finds damage.

    In a large file the tables of ``history`` are left out: a month of a full subnet has gigabytes, whose reading delays
    a start by minutes. What is damaged there is found by whoever reads it.
    """
    with translated(str(path)):
        left_out = history if _is_large(path) else ()
        async with engine.connect() as connection:
            findings = [await _finding(connection, part) for part in await _parts(connection, left_out)]
    finding = next((finding for finding in findings if finding != "ok"), "ok")
    if finding != "ok":
        raise StoreDamaged(
            f"database {path} is damaged: {finding}",
            hint="keep a copy of the file, and restore a backup or move it away to start a new one",
        )


def _is_large(path: Path) -> bool:
    return path.stat().st_size > WHOLE_CHECK_BYTES


async def _parts(connection: AsyncConnection, left_out: Collection[str]) -> list[str]:
    """What is checked, as the check wants it: everything at once, or each table that is not left out."""
    if not left_out:
        return ["1"]
    names = (await connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'")).scalars().all()
    return ['"' + name.replace('"', '""') + '"' for name in names if name not in left_out]


async def _finding(connection: AsyncConnection, part: str) -> str:
    return str((await connection.exec_driver_sql(f"PRAGMA quick_check({part})")).scalars().first())


async def truncate_journal(engine: AsyncEngine) -> None:
    """Move the write-ahead log into the main file and shrink it; what readers still hold stays."""
    async with engine.connect() as plain:
        connection = await plain.execution_options(transaction="none")
        await connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")


async def copy_to(engine: AsyncEngine, target: Path) -> None:
    """A consistent copy of the whole database in a file of its own, which only its owner reads; whole, or none."""
    part = target.with_name(target.name + ".part")
    part.unlink(missing_ok=True)
    try:
        async with engine.connect() as plain:
            connection = await plain.execution_options(transaction="none")
            await connection.exec_driver_sql("VACUUM INTO ?", (str(part),))
        part.chmod(0o600)
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def lay_ballast(path: Path) -> None:
    """Reserve a little space for the day the disk is full; without room for it the engine does without."""
    try:
        if path.is_file() and path.stat().st_size == BALLAST_BYTES:
            return
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(bytes(BALLAST_BYTES))
    except OSError:
        path.unlink(missing_ok=True)


def drop_ballast(path: Path) -> bool:
    """Give the reserved space up; False when it is already gone."""
    try:
        path.unlink()
    except OSError:
        return False
    return True
