"""API keys of the REST listener."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.store.database import Database, upsert
from engine.store.readers import Reading
from engine.store.records import ApiKeyRecord
from engine.store.rows import from_row, to_row
from engine.store.tables import api_keys


class ApiKeyRepository:
    """Every key that was ever made, revoked ones too."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, record: ApiKeyRecord) -> None:
        """Store one; a known id replaces the earlier row."""

        async def run(connection: AsyncConnection) -> None:
            await connection.execute(upsert(self._database.dialect, api_keys), [to_row(record)])

        await self._database.write(run)

    async def all(self) -> list[ApiKeyRecord]:
        """All, oldest first."""
        statement = sa.select(api_keys).order_by(api_keys.c.created_at, api_keys.c.id)

        async def run(connection: Reading) -> list[ApiKeyRecord]:
            return [from_row(ApiKeyRecord, row) for row in await connection.execute(statement)]

        return await self._database.read(run)
