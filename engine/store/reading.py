"""Another process's store, opened for reading only: nothing is written, locked or migrated."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from engine.errors import StoreUnusable
from engine.store.database import Database
from engine.store.readers import Reading
from engine.store.url import PostgresServer, SqliteFiles, parse_url

CONNECT_TIMEOUT_S = 10.0


@asynccontextmanager
async def open_reading(url: str) -> AsyncIterator[tuple[Database, Database | None]]:
    """State and, where there is one, the event log of the store at ``url``.

    Raises:
        StoreUnusable: there is no such database, or the URL names none.
    """
    place = parse_url(url)
    if isinstance(place, SqliteFiles):
        if not place.state.is_file():
            raise StoreUnusable(f"there is no database {place.state}")
        databases = [_read_only(place.state)]
        if place.events.is_file():
            databases.append(_read_only(place.events))
    else:
        databases = [_on_server(place)] * 2
    try:
        yield databases[0], databases[1] if len(databases) > 1 else None
    finally:
        for database in {id(database): database for database in databases}.values():
            await database.close()


async def has_table(database: Database, table: sa.Table) -> bool:
    """Whether a program of ours ever made this table there. Raises StoreUnusable."""

    async def run(connection: Reading) -> bool:
        return await connection.run_sync(lambda plain: table.name in sa.inspect(plain).get_table_names())

    return await database.read(run)


def _on_server(server: PostgresServer) -> Database:
    from engine.store.postgres import connector, open_engine  # noqa: PLC0415 - its driver is loaded where it is used

    connect = connector(server, timeout_s=CONNECT_TIMEOUT_S, program="basilica-tui (reading)")
    return Database(open_engine(connect, connections=2), server.name)


def _read_only(path: Path) -> Database:
    # Without a journal nobody has it open, and only an immutable file is read without creating one.
    query = {"uri": "true", "mode": "ro"}
    if not path.with_name(path.name + "-wal").exists():
        query["immutable"] = "1"
    name = "file:" + str(path.absolute()).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    url = sa.URL.create("sqlite+aiosqlite", database=name, query=query)
    return Database(create_async_engine(url, hide_parameters=True), str(path))
