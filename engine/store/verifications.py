"""What our validator found on miners' nodes."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.store.database import Database
from engine.store.records import Verification
from engine.store.rows import to_row
from engine.store.tables import verifications

DAY_S = 86_400.0
DELETE_ROWS = 2_000


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
        """The newest verification of each node of each miner in the last day that has any, newest first."""
        # The whole history is hundreds of times a day's.
        last = sa.select(sa.func.max(verifications.c.at)).scalar_subquery()
        newest = (
            sa.select(sa.func.max(verifications.c.seq))
            .where(verifications.c.at >= last - DAY_S)
            .group_by(verifications.c.miner_hotkey, verifications.c.node_id)
        )
        return await self._select(sa.select(verifications).where(verifications.c.seq.in_(newest)))

    async def recent(
        self,
        limit: int,
        *,
        failed_only: bool = False,
        miners: Collection[str] | None = None,
        node_id: str | None = None,
        before: str | None = None,
    ) -> list[Verification]:
        """The last ones, newest first: of all nodes, of some miners, of one node of these miners.

        ``before`` is the id of the verification to go on after. A ``node_id`` is found only with ``miners``: ids of
        nodes are chosen by miners, and there is no other index.
        """
        columns = verifications.c
        statement = sa.select(verifications).limit(limit)
        if failed_only:
            statement = statement.where(sa.not_(columns.ok))
        if miners is not None:
            statement = statement.where(columns.miner_hotkey.in_(list(miners)))
        if node_id is not None:
            statement = statement.where(columns.node_id == node_id)
        if before is not None:
            seq = sa.select(columns.seq).where(columns.id == before).scalar_subquery()
            statement = statement.where(columns.seq < seq)
        return await self._select(statement)

    async def prune(self, before: float) -> int:
        """Delete those made before this time, some thousands per transaction; returns how many."""
        some = sa.select(verifications.c.seq).where(verifications.c.at < before).limit(DELETE_ROWS)
        return await self._database.write_in_steps(sa.delete(verifications).where(verifications.c.seq.in_(some)))

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
