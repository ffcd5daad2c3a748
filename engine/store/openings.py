"""When validators opened sessions, by SSH key: what their session limits are counted from. Kept in memory too."""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.store.database import Database
from engine.store.readers import Reading
from engine.store.records import Opening
from engine.store.rows import sound_records
from engine.store.tables import openings


class OpeningRepository:
    """One row per hotkey and key. Rows are written by ``AdmissionRepository`` only."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[str, dict[str, Opening]] | None = None

    async def load(self) -> None:
        """Read the table unless that was done. Raises StoreUnusable."""
        if self._known is not None:
            return

        def keep(found: list[Opening]) -> None:
            if self._known is None:
                self._known = {}
                self.keep(found)

        async def run(connection: Reading) -> list[Opening]:
            return sound_records(Opening, await connection.execute(sa.select(openings)))

        # In turn with the writers: none may commit between the reading and the keeping.
        await self._database.write_beside(lambda: self._database.read(run), after=keep)

    async def of(self, hotkey: str) -> list[Opening]:
        """The hotkey's openings. Raises StoreUnusable."""
        await self.load()
        return list((self._known or {}).get(hotkey, {}).values())

    def keep(self, stored: Iterable[Opening]) -> None:
        """Take over rows that have just been committed."""
        if self._known is not None:
            for opening in stored:
                self._known.setdefault(opening.hotkey, {})[opening.key_fingerprint] = opening

    async def prune(self, now: float, memory_s: float) -> int:
        """Forget what is over and was opened longer than ``memory_s`` ago; returns how many rows went."""

        async def run(connection: AsyncConnection) -> int:
            over = sa.and_(openings.c.until < now, openings.c.opened_at < now - memory_s)
            return (await connection.execute(sa.delete(openings).where(over))).rowcount

        def forget(_removed: int) -> None:
            if self._known is None:
                return
            rows = [opening for of_one in self._known.values() for opening in of_one.values()]
            self._known = {}
            self.keep(row for row in rows if row.until >= now or row.opened_at >= now - memory_s)

        return await self._database.write(run, after=forget)
