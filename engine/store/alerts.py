"""Alerts, active and past, so that a restart neither forgets nor repeats them."""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.store.database import Database, upsert
from engine.store.readers import Reading
from engine.store.records import AlertRecord
from engine.store.rows import sound_records, to_row
from engine.store.tables import alerts


class AlertRepository:
    """One row per episode."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put_many(self, records: Iterable[AlertRecord]) -> None:
        """Store all of them or none; one with a known id replaces the earlier row."""
        rows = [to_row(record) for record in records]
        if not rows:
            return

        async def run(connection: AsyncConnection) -> None:
            await connection.execute(upsert(self._database.dialect, alerts), rows)

        await self._database.write(run)

    async def recent(self, limit: int = 200) -> list[AlertRecord]:
        """Every active alert and the last past ones, oldest first."""
        past = (
            sa.select(alerts.c.id).where(alerts.c.ended_at.is_not(None)).order_by(alerts.c.ended_at.desc()).limit(limit)
        )
        statement = (
            sa.select(alerts)
            .where(sa.or_(alerts.c.ended_at.is_(None), alerts.c.id.in_(past)))
            .order_by(alerts.c.began_at, alerts.c.id)
        )

        async def run(connection: Reading) -> list[AlertRecord]:
            return sound_records(AlertRecord, await connection.execute(statement))

        return await self._database.read(run)

    async def prune(self, before: float) -> int:
        """Delete alerts that ended before this time; returns how many."""

        async def run(connection: AsyncConnection) -> int:
            return (await connection.execute(sa.delete(alerts).where(alerts.c.ended_at < before))).rowcount

        return await self._database.write(run)
