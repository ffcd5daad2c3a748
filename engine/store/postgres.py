"""PostgreSQL as the store needs it: connections with limits on every wait, and the one lock of the engine in charge."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, Literal, TypeAlias

import asyncpg
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from engine.errors import EngineAlreadyRunning, StoreUnusable
from engine.store.failures import also_translate, translated
from engine.store.url import PostgresServer

OLDEST = 13
"""The oldest major version that PostgreSQL's own project still looked after when this was written."""
LOCK_CLASS = 0x62746F39
"""First half of the advisory lock's name; the second is the schema: two schemas of a database are two stores."""
STATEMENT_TIMEOUT_S = 60.0
ACQUIRE_TRIES, ACQUIRE_WAIT_S = 10, 0.2
_SETTINGS = {
    "statement_timeout": f"{int(STATEMENT_TIMEOUT_S * 1000)}",
    "lock_timeout": "10000",
    "idle_in_transaction_session_timeout": "60000",
    # A host that vanished must not hold the lock for the two hours of the usual keepalive.
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
    # Compiling costs more than any of our statements.
    "jit": "off",
}

Connect: TypeAlias = Callable[[], Awaitable[Any]]

also_translate(asyncpg.PostgresError, asyncpg.InterfaceError)


def connector(
    server: PostgresServer,
    *,
    timeout_s: float,
    commits: Literal["durable", "relaxed"] = "durable",
    program: str,
    is_reading: bool = False,
) -> Connect:
    """What opens one connection, by the rules of ``libpq``: URL, then PG* variables, ``~/.pgpass``, ``sslmode``.

    ``relaxed`` commits return before they are on disk: a crash of the server loses the last moment, nothing else.
    ``is_reading`` connections write nothing.
    """
    settings = {**_SETTINGS, "application_name": program}
    if is_reading:
        settings["default_transaction_read_only"] = "on"
    if commits == "relaxed":
        settings["synchronous_commit"] = "off"

    async def connect() -> Any:
        return await asyncpg.connect(
            server.url, timeout=timeout_s, command_timeout=STATEMENT_TIMEOUT_S + 5, server_settings=settings
        )

    return connect


def open_engine(connect: Connect, *, connections: int) -> AsyncEngine:
    """A pool over ``connect`` that notices connections which died while idle, and replaces them."""
    return create_async_engine(
        "postgresql+asyncpg://",
        async_creator=connect,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=30.0,
        pool_pre_ping=True,
        pool_use_lifo=True,
        hide_parameters=True,
    )


async def check_server(connect: Connect, name: str) -> None:
    """Raise StoreUnusable unless the server answers, is new enough, writable and keeps text as UTF-8."""
    with translated(name):
        connection = await connect()
        try:
            version = connection.get_server_version()
            encoding = await connection.fetchval("SHOW server_encoding")
            is_replica = await connection.fetchval("SELECT pg_is_in_recovery()")
            schema = await connection.fetchval("SELECT current_schema()")
        finally:
            await connection.close(timeout=5.0)
    if version.major < OLDEST:
        raise StoreUnusable(
            f"database {name} runs on PostgreSQL {version.major}.{version.minor}, {OLDEST} is the oldest that works",
            hint="upgrade the server, or use sqlite:PATH",
        )
    if encoding != "UTF8":
        raise StoreUnusable(
            f"database {name} keeps text as {encoding}", hint="create it with ENCODING 'UTF8' TEMPLATE template0"
        )
    if is_replica:
        raise StoreUnusable(f"database {name} is a replica, which cannot be written", hint="name the primary server")
    if schema is None:
        raise StoreUnusable(
            f"database {name} has no schema on its search_path", hint="create one: CREATE SCHEMA public"
        )


class EngineLock:
    """An advisory lock on a connection of its own: the server lets it go when this engine is gone, however it went."""

    check_every_s = 15.0

    def __init__(self, connect: Connect, name: str) -> None:
        self._connect = connect
        self._name = name
        self._connection: Any = None
        self._taking = asyncio.Lock()

    async def acquire(self) -> None:
        """Take the lock.

        Raises:
            EngineAlreadyRunning: another engine has it.
            StoreUnusable: the server does not answer.
        """
        with translated(self._name):
            connection = await self._connect()
            for attempt in range(ACQUIRE_TRIES):
                if attempt:  # a server needs a moment to notice that its last client died
                    await asyncio.sleep(ACQUIRE_WAIT_S)
                if await connection.fetchval("SELECT pg_try_advisory_lock($1, hashtext(current_schema()))", LOCK_CLASS):
                    self._connection = connection
                    return
            holder = await _holder(connection)
            await connection.close(timeout=5.0)
        raise EngineAlreadyRunning(
            f"another engine uses the database {self._name}{holder}",
            hint="stop it, or give this engine a database or a schema of its own",
        )

    async def ensure(self) -> None:
        """Before every write: still ours, or taken again after the connection was lost.

        Raises:
            StoreUnusable: another engine took it meanwhile. StoreStrained: the server does not answer.
        """
        if self._connection is not None and not self._connection.is_closed():
            return
        async with self._taking:
            if self._connection is not None and not self._connection.is_closed():
                return
            try:
                await self.acquire()
            except EngineAlreadyRunning as error:
                raise StoreUnusable(
                    f"the connection was lost, and {error.message}", hint="only one of the two engines may go on"
                ) from error

    async def check(self) -> None:
        """Ask the server over the lock's own connection; one that does not answer is given up for another."""
        await self.ensure()
        try:
            async with asyncio.timeout(10.0):
                await self._connection.fetchval("SELECT 1")
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            self._connection.terminate()
            await self.ensure()

    async def settle(self) -> None:
        """Nothing to tidy up: the server looks after its own files."""

    async def release(self) -> None:
        """Let another engine in."""
        connection, self._connection = self._connection, None
        if connection is not None and not connection.is_closed():
            with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                await connection.close(timeout=5.0)


async def _holder(connection: Any) -> str:
    row = await connection.fetchrow(
        "SELECT a.application_name, a.client_addr::text AS peer, a.backend_start FROM pg_locks l"
        " JOIN pg_stat_activity a USING (pid)"
        " WHERE l.locktype = 'advisory' AND l.granted AND l.classid = $1::bigint::oid"
        " AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) LIMIT 1",
        LOCK_CLASS,
    )
    if row is None:
        return ""
    place = f" on {row['peer']}" if row["peer"] else ""
    since = "" if row["backend_start"] is None else f", connected since {row['backend_start']:%Y-%m-%d %H:%M:%S %Z}"
    return f" ({row['application_name']}{place}{since})"
