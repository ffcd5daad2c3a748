"""Validators' sessions: one row per hotkey, the latest. Read from memory, which every committed change updates."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.store.batching import GroupCommit
from engine.store.database import Database, upsert
from engine.store.readers import Reading
from engine.store.records import Session
from engine.store.rows import sound_records, to_row
from engine.store.tables import sessions


class SessionRepository:
    """Who authenticated, with which key, and what became of it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._puts: GroupCommit[Session, None] = GroupCommit(database, self._store, after=self.keep)
        self._known: dict[str, Session] | None = None

    async def put(self, session: Session) -> None:
        """Store a session in place of the hotkey's earlier one. Raises StoreUnusable."""
        await self._puts.submit(session)

    async def get(self, hotkey: str) -> Session | None:
        """The hotkey's session, ended or not. Raises StoreUnusable when sessions cannot be read."""
        await self.load()
        return self.known(hotkey)

    async def all(self) -> list[Session]:
        """Every session, the latest authentication first. Raises StoreUnusable when they cannot be read."""
        await self.load()
        return sorted((self._known or {}).values(), key=lambda session: (-session.issued_at, session.hotkey))

    async def load(self) -> None:
        """Read the table unless that was done. Raises StoreUnusable."""
        if self._known is not None:
            return

        async def run(connection: Reading) -> list[Session]:
            return sound_records(Session, await connection.execute(sa.select(sessions)))

        def keep(found: list[Session]) -> None:
            if self._known is None:
                self._known = {}
                self.keep(found)

        # In turn with the writers: none may commit between the reading and the keeping.
        await self._database.write_beside(lambda: self._database.read(run), after=keep)

    def known(self, hotkey: str) -> Session | None:
        """``get`` without waiting, once ``load`` has been waited for."""
        return None if self._known is None else self._known.get(hotkey)

    def keep(self, stored: Iterable[Session]) -> None:
        """Take over rows that have just been committed."""
        if self._known is not None:
            self._known.update((session.hotkey, session) for session in stored)

    async def end(self, session: Session, at: float, reason: str) -> bool:
        """Mark this session as over, unless a newer one took its place meanwhile; returns whether it was marked."""
        statement = (
            sa.update(sessions)
            .where(
                sessions.c.hotkey == session.hotkey,
                sessions.c.token == session.token,
                sessions.c.ended_at.is_(None),
            )
            .values(ended_at=at, end_reason=reason)
        )

        async def run(connection: AsyncConnection) -> bool:
            return (await connection.execute(statement)).rowcount > 0

        def note(was_marked: bool) -> None:
            current = self.known(session.hotkey)
            if was_marked and current is not None and current.token == session.token:
                self.keep([replace(current, ended_at=at, end_reason=reason)])

        await self.flush()
        return await self._database.write(run, after=note)

    async def prolong(self, hotkey: str, until: float) -> bool:
        """The hotkey's access lasts until then; nothing else of its session is written. False for one that is over."""
        statement = (
            sa.update(sessions)
            .where(sessions.c.hotkey == hotkey, sessions.c.ended_at.is_(None))
            .values(access_until=until)
        )

        async def run(connection: AsyncConnection) -> bool:
            return (await connection.execute(statement)).rowcount > 0

        def note(was_there: bool) -> None:
            current = self.known(hotkey)
            if was_there and current is not None:
                self.keep([replace(current, access_until=until)])

        await self.flush()
        return await self._database.write(run, after=note)

    async def prune(self, before: float) -> int:
        """Delete sessions that ended before this time; returns how many."""

        async def run(connection: AsyncConnection) -> int:
            result = await connection.execute(sa.delete(sessions).where(sessions.c.ended_at < before))
            return result.rowcount

        def forget(_removed: int) -> None:
            if self._known is not None:
                self._known = {h: s for h, s in self._known.items() if s.ended_at is None or s.ended_at >= before}

        return await self._database.write(run, after=forget)

    async def flush(self) -> None:
        """Wait until everything put so far is stored."""
        await self._puts.flush()

    async def _store(self, connection: AsyncConnection, records: Sequence[Session]) -> Sequence[None]:
        rows = {record.hotkey: to_row(record) for record in records}  # the last of each hotkey wins
        await connection.execute(upsert(self._database.dialect, sessions), list(rows.values()))
        return [None] * len(records)
