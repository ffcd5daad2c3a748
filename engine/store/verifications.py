"""What our validator found on miners' nodes."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.store.database import Database
from engine.store.records import Verification
from engine.store.rows import to_row
from engine.store.tables import verifications


class VerificationRepository:
    """Verifications in the order in which they were added."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, record: Verification) -> None:
        """Store one; its id must be new."""
        row = {**to_row(record), "gpu_uuids": json.dumps(record.gpu_uuids)}

        async def run(connection: AsyncConnection) -> None:
            await connection.execute(sa.insert(verifications), [row])

        await self._database.write(run)

    async def latest(self) -> list[Verification]:
        """The newest verification of each node of each miner, newest first."""
        newest = sa.select(sa.func.max(verifications.c.seq)).group_by(
            verifications.c.miner_hotkey, verifications.c.node_id
        )
        return await self._select(sa.select(verifications).where(verifications.c.seq.in_(newest)))

    async def recent(
        self, limit: int, *, failed_only: bool = False, miner_hotkey: str | None = None, node_id: str | None = None
    ) -> list[Verification]:
        """The last ones, newest first; of all nodes, or of one miner or one node."""
        statement = sa.select(verifications).limit(limit)
        if failed_only:
            statement = statement.where(sa.not_(verifications.c.ok))
        if miner_hotkey is not None:
            statement = statement.where(verifications.c.miner_hotkey == miner_hotkey)
        if node_id is not None:
            statement = statement.where(verifications.c.node_id == node_id)
        return await self._select(statement)

    async def prune(self, before: float) -> int:
        """Delete those made before this time; returns how many."""

        async def run(connection: AsyncConnection) -> int:
            result = await connection.execute(sa.delete(verifications).where(verifications.c.at < before))
            return result.rowcount

        return await self._database.write(run)

    async def _select(self, statement: sa.Select[Any]) -> list[Verification]:
        async def run(connection: AsyncConnection) -> list[Verification]:
            rows = await connection.execute(statement.order_by(verifications.c.seq.desc()))
            return [_verification(row) for row in rows]

        return await self._database.read(run)


def _verification(row: sa.Row[Any]) -> Verification:
    values = dict(row._mapping)
    del values["seq"]
    values["gpu_uuids"] = tuple(json.loads(values["gpu_uuids"]))
    return Verification(**values)
