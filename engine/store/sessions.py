"""Validators' sessions: one row per hotkey, the latest."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.store.batching import GroupCommit
from engine.store.database import Database, upsert
from engine.store.records import Session
from engine.store.rows import from_row, to_row
from engine.store.tables import sessions


class SessionRepository:
    """Who authenticated, with which key, and what became of it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._puts: GroupCommit[Session, None] = GroupCommit(database, self._store)

    async def put(self, session: Session) -> None:
        """Store a session in place of the hotkey's earlier one."""
        await self._puts.submit(session)

    async def get(self, hotkey: str) -> Session | None:
        """The hotkey's session, ended or not."""
        found = await self._select(sessions.c.hotkey == hotkey)
        return found[0] if found else None

    async def all(self) -> list[Session]:
        """Every session, the latest authentication first."""
        return await self._select()

    async def prune(self, before: float) -> int:
        """Delete sessions that ended before this time; returns how many."""

        async def run(connection: AsyncConnection) -> int:
            result = await connection.execute(sa.delete(sessions).where(sessions.c.ended_at < before))
            return result.rowcount

        return await self._database.write(run)

    async def flush(self) -> None:
        """Wait until everything put so far is stored."""
        await self._puts.flush()

    async def _store(self, connection: AsyncConnection, records: Sequence[Session]) -> Sequence[None]:
        rows = {record.hotkey: to_row(record) for record in records}  # the last of each hotkey wins
        await connection.execute(upsert(self._database.dialect, sessions), list(rows.values()))
        return [None] * len(records)

    async def _select(self, *conditions: sa.ColumnElement[bool]) -> list[Session]:
        statement = sa.select(sessions).where(*conditions).order_by(sessions.c.issued_at.desc(), sessions.c.hotkey)

        async def run(connection: AsyncConnection) -> list[Session]:
            return [from_row(Session, row) for row in await connection.execute(statement)]

        return await self._database.read(run)
