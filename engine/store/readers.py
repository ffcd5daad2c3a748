"""Reading the SQLite file in one step of one thread: the event loop is asked once per reading, not once per statement.

The asynchronous driver changes threads for every statement, fetch and close. Beside a round of checks that keeps the
loop busy, a reading of two statements waited for the loop's turn eight times.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar, TypeVarTuple, cast, overload

import sqlalchemy as sa
from sqlalchemy.sql.selectable import TypedReturnsRows

T = TypeVar("T")
Columns = TypeVarTuple("Columns")

THREADS = 2


class Reading(Protocol):
    """What a reading may do: the part of SQLAlchemy's AsyncConnection that both ways of reading have."""

    @overload
    async def execute(self, statement: TypedReturnsRows[*Columns], /) -> sa.CursorResult[*Columns]: ...

    @overload
    async def execute(self, statement: sa.Executable, /) -> sa.CursorResult[*tuple[Any, ...]]: ...

    async def execute(self, statement: sa.Executable, /) -> sa.CursorResult[*tuple[Any, ...]]:
        """The rows of a statement; to be taken before the reading ends."""

    async def run_sync(self, look: Callable[[sa.Connection], T], /) -> T:
        """What a function finds that wants a plain connection."""


class _AtOnce:
    """A connection whose answers are there when it is asked: awaiting them never waits."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    async def execute(self, statement: sa.Executable, /) -> sa.CursorResult[*tuple[Any, ...]]:
        return self._connection.execute(statement)

    async def run_sync(self, look: Callable[[sa.Connection], T], /) -> T:
        return look(self._connection)


class Readers:
    """A few threads, each with a connection of its own for as long as it reads."""

    def __init__(self, engine: sa.Engine) -> None:
        """``engine`` is a synchronous one with room for ``THREADS`` connections that may be used in any thread."""
        self._engine = engine
        self._threads = ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="store-read")
        self._is_closed = False

    async def read(self, work: Callable[[Reading], Awaitable[T]]) -> T:
        """Run ``work`` on a consistent view of the data, in a thread. It must wait for nothing but its connection.

        Raises what SQLAlchemy or ``work`` raises.
        """
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._run, work)

    async def close(self) -> None:
        """Let the file go. Safe to call twice."""
        if self._is_closed:
            return
        self._is_closed = True
        await asyncio.get_running_loop().run_in_executor(self._threads, self._engine.dispose)
        self._threads.shutdown(wait=False)

    def _run(self, work: Callable[[Reading], Awaitable[T]]) -> T:
        with self._engine.connect() as connection:
            return _finish(cast("Coroutine[Any, Any, T]", work(_AtOnce(connection))))


def _finish(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never has to wait; giving others a turn is no wait. Raises RuntimeError when it waits."""
    awaited: object = None
    while awaited is None:
        try:
            awaited = work.send(None)
        except StopIteration as done:
            return cast("T", done.value)
    work.close()
    raise RuntimeError("a reading waits for something other than its connection")
