"""Every weight vector that was set, with what it was made of."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.store.database import Database
from engine.store.readers import Reading
from engine.store.records import WeightSet
from engine.store.rows import from_row, to_row
from engine.store.tables import weight_sets


class WeightRepository:
    """Weight vectors in the order in which they were made."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, record: WeightSet) -> None:
        """Store one."""

        async def run(connection: AsyncConnection) -> None:
            await connection.execute(sa.insert(weight_sets), [to_row(record)])

        await self._database.write(run)

    async def newest(self, *, at_block: int | None = None, at_time: float | None = None) -> WeightSet | None:
        """The last one that the chain took; with ``at_block`` or ``at_time`` the one that was in force then."""
        statement = sa.select(weight_sets).where(weight_sets.c.ok).order_by(weight_sets.c.id.desc()).limit(1)
        if at_block is not None:
            statement = statement.where(weight_sets.c.block <= at_block)
        if at_time is not None:
            statement = statement.where(weight_sets.c.at <= at_time)

        async def run(connection: Reading) -> WeightSet | None:
            row = (await connection.execute(statement)).first()
            return None if row is None else from_row(WeightSet, row)

        return await self._database.read(run)

    async def recent(self, limit: int) -> list[WeightSet]:
        """The last ones, newest first, failed ones included."""
        statement = sa.select(weight_sets).order_by(weight_sets.c.id.desc()).limit(limit)

        async def run(connection: Reading) -> list[WeightSet]:
            return [from_row(WeightSet, row) for row in await connection.execute(statement)]

        return await self._database.read(run)

    async def prune(self, before: float) -> None:
        """Delete those made before this time."""

        async def run(connection: AsyncConnection) -> None:
            await connection.execute(sa.delete(weight_sets).where(weight_sets.c.at < before))

        await self._database.write(run)
