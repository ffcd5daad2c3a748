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
        columns = verifications.c

        async def run(connection: AsyncConnection) -> list[Verification]:
            last = (await connection.execute(sa.select(sa.func.max(columns.at)))).scalar()
            if last is None:
                return []
            # The whole history is hundreds of times a day's. As expressions, and literal for PostgreSQL, the keys keep
            # SQLite from walking all of it in the order of the nodes' index.
            nothing = sa.literal_column("''", sa.Text)
            keys = sa.func.coalesce(columns.miner_hotkey, nothing), sa.func.coalesce(columns.node_id, nothing)
            newest = sa.select(sa.func.max(columns.seq).label("seq")).where(columns.at >= last - DAY_S).group_by(*keys)
            found = newest.subquery()
            statement = sa.select(verifications).join(found, columns.seq == found.c.seq)
            return [_verification(row) for row in await connection.execute(statement.order_by(found.c.seq.desc()))]

        return await self._database.read(run)

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
        # With a miner its index must be used, not the order: what is rare lies at the end of a long walk.
        order = columns.seq if miners is None else columns.seq + 0
        return await self._select(statement.order_by(order.desc()))

    async def prune(self, before: float) -> int:
        """Delete those made before this time, some thousands per transaction; returns how many."""
        some = sa.select(verifications.c.seq).where(verifications.c.at < before).limit(DELETE_ROWS)
        return await self._database.write_in_steps(sa.delete(verifications).where(verifications.c.seq.in_(some)))

    async def _select(self, statement: sa.Select[Any]) -> list[Verification]:
        async def run(connection: AsyncConnection) -> list[Verification]:
            rows = await connection.execute(statement)
            return [_verification(row) for row in rows]

        return await self._database.read(run)


def _verification(row: sa.Row[Any]) -> Verification:
    values = dict(row._mapping)
    del values["seq"]
    values["gpu_uuids"] = tuple(json.loads(values["gpu_uuids"]))
    return Verification(**values)
