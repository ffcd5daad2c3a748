"""INSERT of many rows in one statement."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from itertools import chain

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.store.database import Database

Row = tuple[object, ...]


class BulkInsert:
    """Rows of one table, in the order of ``names``. Text has to be ``storable`` already.

    sqlite3 lets go of the interpreter for each statement and waits to get it back, beside a busy event loop up to 5 ms:
    a group must not do so once per row, as ``executemany`` does.
    """

    def __init__(self, table: sa.Table, names: Sequence[str], *, conflict: str = "") -> None:
        """``conflict`` is SQLite's clause for rows that are there already; without one they are an error."""
        self._table = table
        self._names = tuple(names)
        self._start = f"INSERT INTO {table.name} ({', '.join(names)}) VALUES "  # noqa: S608 - our own names
        self._row = f"({', '.join('?' * len(names))})"
        self._end = f" ON CONFLICT {conflict}" if conflict else ""

    def put(self, connection: sqlite3.Connection, rows: Sequence[Row]) -> int:
        """Within a transaction that is open; returns how many rows were written."""
        if not rows:
            return 0
        statement = self._start + ", ".join([self._row] * len(rows)) + self._end
        return connection.execute(statement, list(chain.from_iterable(rows))).rowcount

    async def store(self, database: Database, rows: Sequence[Row], *, is_urgent: bool = False) -> None:
        """All of them in a transaction of their own, the direct way where there is one. Raises StoreUnusable."""
        direct = database.direct
        if direct is None:
            values = [dict(zip(self._names, row, strict=True)) for row in rows]

            async def run(connection: AsyncConnection) -> None:
                await connection.execute(sa.insert(self._table), values)

            await database.write(run, is_urgent=is_urgent)
            return
        await database.write_beside(
            lambda: direct.transaction(lambda connection: self.put(connection, rows)), is_urgent=is_urgent
        )


def replacing(table: sa.Table) -> str:
    """The conflict clause of rows that take the place of earlier ones with the same key."""
    keys = [column.name for column in table.primary_key]
    rest = ", ".join(f"{column.name} = excluded.{column.name}" for column in table.columns if not column.primary_key)
    return f"({', '.join(keys)}) DO UPDATE SET {rest}"
