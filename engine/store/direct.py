"""A second way into the SQLite file: whole transactions in one step of one thread.

Every statement through SQLAlchemy costs a change of thread and a compiled statement, and a transaction has several.
Measured at the door, that was more than a signature check per call; in one step it is a tenth. So what comes with every
call goes this way: the door's admissions, audit records, events.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, TypeVar

from engine.store import sqlite

T = TypeVar("T")

CHECKPOINT_PAGES = 4000
"""The same pages are written again and again: four times the usual number before they go to the main file."""


class DirectConnection:
    """One connection in a thread of its own. Callers take turns with the file's other writer themselves."""

    def __init__(self, path: Path, synchronous: Literal["FULL", "NORMAL"] = "FULL") -> None:
        self._path = path
        self._synchronous: Literal["FULL", "NORMAL"] = synchronous
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store-direct")
        self._connection: sqlite3.Connection | None = None
        self._is_closed = False

    async def transaction(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``work`` in a write transaction, all of it or nothing. Raises sqlite3.Error, or what ``work`` raises."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._run, work)

    async def close(self) -> None:
        """Let the file go. Safe to call twice."""
        if self._is_closed:
            return
        self._is_closed = True
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown(wait=False)

    def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        connection = self._opened()
        connection.execute("BEGIN IMMEDIATE")
        try:
            result = work(connection)
            connection.execute("COMMIT")
        except BaseException:
            # A full disk has rolled back already.
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return result

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            connection = sqlite3.connect(self._path, timeout=sqlite.BUSY_TIMEOUT_S, isolation_level=None)
            try:
                for pragma in (*sqlite.pragmas(self._synchronous), f"wal_autocheckpoint={CHECKPOINT_PAGES}"):
                    connection.execute(f"PRAGMA {pragma}")
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
