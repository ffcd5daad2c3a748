"""Nodes that were ever configured, kept until no key of ours is left on them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.store.database import Database, upsert
from engine.store.readers import Reading
from engine.store.records import KnownNode
from engine.store.rows import in_chunks, sound_records, to_row
from engine.store.tables import nodes


class NodeRepository:
    """The address book behind the grants: how to reach a node that the configuration no longer names."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put_many(self, records: Iterable[KnownNode]) -> None:
        """Store all of them or none; a known id is replaced, so a node that comes back is no longer removed."""
        rows = [to_row(record) for record in records]
        if not rows:
            return

        async def run(connection: AsyncConnection) -> None:
            await connection.execute(upsert(self._database.dialect, nodes), rows)

        await self._database.write(run)

    async def all(self) -> list[KnownNode]:
        """Every known node, removed ones too, oldest first."""
        statement = sa.select(nodes).order_by(nodes.c.added_at, nodes.c.node_id)

        async def run(connection: Reading) -> list[KnownNode]:
            return sound_records(KnownNode, await connection.execute(statement))

        return await self._database.read(run)

    async def mark_removed(self, ids: Sequence[str], at: float) -> None:
        """Record that the configuration no longer names these; one marked before keeps its time."""
        if not ids:
            return

        async def run(connection: AsyncConnection) -> None:
            for chunk in in_chunks(ids):
                condition = (nodes.c.node_id.in_(chunk), nodes.c.removed_at.is_(None))
                await connection.execute(sa.update(nodes).where(*condition).values(removed_at=at))

        await self._database.write(run, is_urgent=True)

    async def forget(self, ids: Sequence[str]) -> None:
        """Delete these nodes; for those whose grants are all closed."""
        if not ids:
            return

        async def run(connection: AsyncConnection) -> None:
            for chunk in in_chunks(ids):
                await connection.execute(sa.delete(nodes).where(nodes.c.node_id.in_(chunk)))

        await self._database.write(run)
