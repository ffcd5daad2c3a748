"""What the fleet remembers of each node, as one JSON document per node."""

from __future__ import annotations

import json
from collections.abc import Mapping

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.store.database import Database, upsert
from engine.store.readers import Reading
from engine.store.tables import node_health


class NodeHealthRepository:
    """Documents by node id; their shape is the fleet's."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put_many(self, documents: Mapping[str, Mapping[str, object]], at: float) -> None:
        """Store all of them or none, each in place of the node's earlier one."""
        if not documents:
            return
        rows = [
            {"node_id": node_id, "updated_at": at, "record": json.dumps(document, separators=(",", ":"))}
            for node_id, document in documents.items()
        ]

        async def run(connection: AsyncConnection) -> None:
            await connection.execute(upsert(self._database.dialect, node_health), rows)

        await self._database.write(run)

    async def all(self) -> dict[str, dict[str, object]]:
        """Every document that is one."""

        async def run(connection: Reading) -> list[tuple[str, str]]:
            found = await connection.execute(sa.select(node_health.c.node_id, node_health.c.record))
            return [(row.node_id, row.record) for row in found]

        documents = {node_id: json.loads(text) for node_id, text in await self._database.read(run)}
        return {node_id: document for node_id, document in documents.items() if isinstance(document, dict)}

    async def prune(self, before: float) -> int:
        """Delete documents that were not renewed since then, which are those of nodes long gone; returns how many."""

        async def run(connection: AsyncConnection) -> int:
            result = await connection.execute(sa.delete(node_health).where(node_health.c.updated_at < before))
            return result.rowcount

        return await self._database.write(run)
