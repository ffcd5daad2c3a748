"""One database: serialised writes that cancellation cannot tear, short reads, errors in our words."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.pool import QueuePool

from engine.errors import StoreUnusable
from engine.store.direct import DirectConnection
from engine.store.failures import is_full, library_errors, translate, translated
from engine.store.readers import Readers, Reading

T = TypeVar("T")
Work = Callable[[AsyncConnection], Awaitable[T]]
Look = Callable[[Reading], Awaitable[T]]
Observer = Callable[[str, float, bool], None]
"""Gets ``read`` or ``write``, the seconds it took, and whether it succeeded."""


class Database:
    """Runs transactions. One writer at a time; each transaction runs to its end in a task of its own.

    A cancelled caller stops waiting, its transaction does not stop: left open it would block every later one.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        name: str,
        *,
        relieve: Callable[[], bool] = lambda: False,
        before_write: Callable[[], Awaitable[None]] | None = None,
        direct: DirectConnection | None = None,
        readers: Readers | None = None,
    ) -> None:
        """``relieve`` frees some space when there is none. ``before_write`` raises when this engine may not write.

        ``direct`` is a faster way for transactions that come often, ``readers`` one for readings, where there are such;
        both are closed with the rest.
        """
        # Values are tokens and digests, and an error's text would have them; it may get into a log.
        assert engine.sync_engine.hide_parameters
        self.engine = engine
        self.name = name
        self.direct = direct
        self._readers = readers
        self._relieve = relieve
        self._before_write = before_write
        # A server sees several statements of one reading at one moment only when it is asked to.
        self._reading: dict[str, Any] = (
            {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True} if self.dialect == "postgresql" else {}
        )
        self._writing = asyncio.Lock()
        self._running: set[asyncio.Task[Any]] = set()
        self.is_closed = False
        self.observe: Observer | None = None
        """Told of each finished operation, for metrics."""

    @property
    def dialect(self) -> str:
        """SQLAlchemy's name of the database kind: ``sqlite`` or ``postgresql``."""
        return self.engine.dialect.name

    async def write(self, work: Work[T], *, is_urgent: bool = False, after: Callable[[T], None] | None = None) -> T:
        """Run ``work`` in a write transaction: all of it is stored, or none.

        ``after`` gets the result when it is stored and before any other writer's turn: for copies kept in memory.

        ``is_urgent`` work (ending access, recording removals) gets the ballast's space when the disk is full.

        Raises:
            StoreUnusable: the database failed; nothing of this work was stored.
        """
        return await self.write_beside(lambda: self._transaction(work), is_urgent=is_urgent, after=after)

    async def write_beside(
        self,
        transaction: Callable[[], Awaitable[T]],
        *,
        is_urgent: bool = False,
        after: Callable[[T], None] | None = None,
    ) -> T:
        """Run a transaction of its own kind in its turn among the writers; else like ``write``."""
        return await self._to_its_end(
            self._timed("write", lambda: self._write(transaction, is_urgent=is_urgent, after=after))
        )

    async def write_in_steps(self, deletion: sa.Delete) -> int:
        """Repeat a deletion of some rows until none is left, so that no other writer waits long; returns how many."""

        async def run(connection: AsyncConnection) -> int:
            return (await connection.execute(deletion)).rowcount

        deleted = 0
        while count := await self.write(run):
            deleted += count
        return deleted

    async def read(self, work: Look[T]) -> T:
        """Run ``work`` on a consistent view of the data. It waits for its connection alone, and may run in a thread.

        Raises:
            StoreUnusable: the database failed.
        """
        return await self._to_its_end(self._timed("read", lambda: self._read(work)))

    async def close(self) -> None:
        """Wait for what runs, then let go of all connections."""
        self.is_closed = True
        while self._running:
            await asyncio.wait(tuple(self._running))
        await self.engine.dispose()
        if self._readers is not None:
            await self._readers.close()
        if self.direct is not None:
            await self.direct.close()

    @property
    def connections_active(self) -> int:
        """Connections that are in use at this moment."""
        pool = self.engine.sync_engine.pool
        return pool.checkedout() if isinstance(pool, QueuePool) else 0

    async def _timed(self, operation: str, start: Callable[[], Awaitable[T]]) -> T:
        began = time.perf_counter()
        is_done = False
        try:
            result = await start()
            is_done = True
            return result
        finally:
            if self.observe is not None:
                self.observe(operation, time.perf_counter() - began, is_done)

    async def _to_its_end(self, running: Coroutine[Any, Any, T]) -> T:
        if self.is_closed:
            running.close()
            raise StoreUnusable(f"database {self.name} is closed")
        task = asyncio.create_task(running)
        self._running.add(task)
        task.add_done_callback(self._finished)
        return await asyncio.shield(task)

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # read here too, because a cancelled caller never does

    async def _write(
        self, transaction: Callable[[], Awaitable[T]], *, is_urgent: bool, after: Callable[[T], None] | None
    ) -> T:
        async with self._writing:
            if self._before_write is not None:
                await self._before_write()
            result = await self._written(transaction, is_urgent=is_urgent)
            if after is not None:
                after(result)
            return result

    async def _written(self, transaction: Callable[[], Awaitable[T]], *, is_urgent: bool) -> T:
        try:
            return await transaction()
        except library_errors() as error:
            if not (is_urgent and is_full(error) and self._relieve()):
                raise translate(error, self.name) from error
        with translated(self.name):
            return await transaction()

    async def _transaction(self, work: Work[T]) -> T:
        async with self.engine.connect() as plain:
            connection = await plain.execution_options(transaction="write")
            async with connection.begin():
                return await work(connection)

    async def _read(self, work: Look[T]) -> T:
        with translated(self.name):
            if self._readers is not None:
                return await self._readers.read(work)
            async with self.engine.connect() as plain:
                connection = await plain.execution_options(**self._reading) if self._reading else plain
                return await work(connection)


def insert_or(dialect: str, table: sa.Table) -> Any:
    """An INSERT into ``table`` that can be told what to do with a key that is there; one face for both dialects."""
    if dialect == "postgresql":
        from sqlalchemy.dialects.postgresql import insert  # noqa: PLC0415 - only where that dialect is in use
    else:
        from sqlalchemy.dialects.sqlite import insert  # type: ignore[assignment]  # noqa: PLC0415 - same face
    return insert(table)


def upsert(dialect: str, table: sa.Table) -> Any:
    """An INSERT into ``table`` that replaces the row with the same primary key; the same words for both dialects."""
    statement = insert_or(dialect, table)
    keys = [column.name for column in table.primary_key]
    rest = {column.name: statement.excluded[column.name] for column in table.columns if not column.primary_key}
    return statement.on_conflict_do_update(index_elements=keys, set_=rest)
