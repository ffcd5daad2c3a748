"""Small things that must survive a restart, by name: the last metagraph, the assignment."""

from __future__ import annotations

import json

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.store.database import Database, upsert
from engine.store.readers import Reading
from engine.store.tables import keyvalue


class KeyValueRepository:
    """JSON values by key."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, key: str) -> object | None:
        """The value as ``json`` reads it; None when there is none or it is ``null``."""

        async def run(connection: Reading) -> str | None:
            return (await connection.execute(sa.select(keyvalue.c.value).where(keyvalue.c.key == key))).scalar()

        text = await self._database.read(run)
        return None if text is None else json.loads(text)

    async def put(self, key: str, value: object) -> None:
        """Store anything that ``json`` can write, in place of the key's earlier value."""
        row = {"key": key, "value": json.dumps(value, separators=(",", ":"))}

        async def run(connection: AsyncConnection) -> None:
            await connection.execute(upsert(self._database.dialect, keyvalue), [row])

        await self._database.write(run)
