"""An engine's store, opened to be read by another process of that engine: nothing is migrated, locked or written."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool, QueuePool

from engine.clock import Clock
from engine.errors import StoreUnusable
from engine.store.database import Database
from engine.store.keeper import Opened
from engine.store.readers import THREADS, Readers
from engine.store.sqlite import BUSY_TIMEOUT_S
from engine.store.store import Store
from engine.store.url import PostgresServer, SqliteFiles, parse_url

CONNECTIONS = 2
"""To a server."""


class _NoKeeper:
    """The engine in charge looks after the place."""

    check_every_s = 60.0

    async def check(self) -> None:
        return

    async def settle(self) -> None:
        return

    async def release(self) -> None:
        return


async def open_store_to_read(url: str, *, clock: Clock, connect_timeout_s: float = 30.0) -> Store:
    """The store that the engine in charge has opened; whatever would write raises StoreUnusable.

    Raises:
        StoreUnusable: there is no such database, or the server does not answer.
    """
    place = parse_url(url)
    database = _file(place) if isinstance(place, SqliteFiles) else _server(place, connect_timeout_s)
    store = Store(Opened(database, database, _NoKeeper()), clock=clock)
    try:
        await store.api_keys.all()
    except BaseException:
        await store.close()
        raise
    return store


async def _refuse() -> None:
    raise StoreUnusable("this process may only read the database")


def _file(files: SqliteFiles) -> Database:
    path = files.state
    if not path.is_file():
        raise StoreUnusable(f"there is no database {path}")
    readers = sa.create_engine(
        _url("sqlite+pysqlite", path),
        connect_args={"isolation_level": None, "timeout": BUSY_TIMEOUT_S, "check_same_thread": False},
        poolclass=QueuePool,
        pool_size=THREADS,
        max_overflow=0,
        pool_use_lifo=True,
        hide_parameters=True,
    )

    @sa.event.listens_for(readers, "begin")
    def begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    # Everything is read in the readers' threads; the asynchronous engine only names the dialect.
    engine = create_async_engine(_url("sqlite+aiosqlite", path), poolclass=NullPool, hide_parameters=True)
    return Database(engine, str(path), before_write=_refuse, readers=Readers(readers))


def _url(driver: str, path: Path) -> sa.URL:
    name = "file:" + str(path.absolute()).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    return sa.URL.create(driver, database=name, query={"uri": "true", "mode": "ro"})


def _server(server: PostgresServer, connect_timeout_s: float) -> Database:
    from engine.store.postgres import connector, open_engine  # noqa: PLC0415 - its driver is loaded where it is used

    connect = connector(server, timeout_s=connect_timeout_s, program="basilica-tui (REST)", is_reading=True)
    return Database(open_engine(connect, connections=CONNECTIONS), server.name, before_write=_refuse)
