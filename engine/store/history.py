"""Time series in buckets: one row per tier and start of a bucket, opaque to the store."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.store.database import Database, upsert
from engine.store.readers import Reading
from engine.store.tables import history


class HistoryRepository:
    """As many rows as there are buckets within the tiers' spans, however many nodes there are."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put_many(self, records: Mapping[tuple[str, float], bytes]) -> None:
        """Store buckets by tier and start, each in place of its earlier form. Raises StoreUnusable."""
        if not records:
            return
        rows = [{"tier": tier, "at": at, "record": record} for (tier, at), record in records.items()]

        async def run(connection: AsyncConnection) -> None:
            await connection.execute(upsert(self._database.dialect, history), rows)

        await self._database.write(run)

    async def since(self, tier: str, at: float) -> list[tuple[float, bytes]]:
        """A tier's buckets that start at that time or later, oldest first. Raises StoreUnusable."""
        statement = (
            sa.select(history.c.at, history.c.record)
            .where(history.c.tier == tier, history.c.at >= at)
            .order_by(history.c.at)
        )

        async def run(connection: Reading) -> list[tuple[float, bytes]]:
            return [(float(row.at), bytes(row.record)) for row in await connection.execute(statement)]

        return await self._database.read(run)

    async def prune(self, tier: str, before: float) -> int:
        """Delete a tier's buckets that start before this time; returns how many. Raises StoreUnusable."""
        statement = sa.delete(history).where(history.c.tier == tier, history.c.at < before)

        async def run(connection: AsyncConnection) -> int:
            return (await connection.execute(statement)).rowcount

        return await self._database.write(run)
