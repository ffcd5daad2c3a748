"""Nonces that accepted requests used up; they outlive a restart, so that no request works twice."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.store.batching import GroupCommit
from engine.store.database import Database
from engine.store.readers import Reading
from engine.store.records import SpentNonce
from engine.store.rows import from_row, in_chunks, to_row
from engine.store.tables import nonces


class NonceRepository:
    """Who spent which nonce on what, and the answer that an identical retry gets."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._spends: GroupCommit[SpentNonce, SpentNonce | None] = GroupCommit(database, self.spend_in)

    async def spend(self, record: SpentNonce) -> SpentNonce | None:
        """Use a nonce up, atomically: None when it was unused until now, else who used it first.

        Of several callers with the same nonce exactly one gets None.
        """
        return await self._spends.submit(record)

    async def get(self, hotkey_hex: str, nonce: str) -> SpentNonce | None:
        """The use of a nonce, None when it is unused."""

        async def run(connection: Reading) -> SpentNonce | None:
            statement = sa.select(nonces).where(nonces.c.hotkey_hex == hotkey_hex, nonces.c.nonce == nonce)
            row = (await connection.execute(statement)).first()
            return None if row is None else from_row(SpentNonce, row)

        return await self._database.read(run)

    async def prune(self, before: float) -> int:
        """Delete nonces accepted before this time; returns how many.

        Safe only for times at which a request with that timestamp would be refused as too old.
        """

        async def run(connection: AsyncConnection) -> int:
            result = await connection.execute(sa.delete(nonces).where(nonces.c.accepted_at < before))
            return result.rowcount

        return await self._database.write(run)

    async def flush(self) -> None:
        """Wait until everything spent so far is stored."""
        await self._spends.flush()

    async def spend_in(self, connection: AsyncConnection, records: Sequence[SpentNonce]) -> list[SpentNonce | None]:
        """Use nonces up within a transaction that is open; the result is each one's earlier use."""
        used: dict[tuple[str, str], SpentNonce] = {}
        for chunk in in_chunks([(record.hotkey_hex, record.nonce) for record in records]):
            for row in await connection.execute(
                sa.select(nonces).where(sa.tuple_(nonces.c.hotkey_hex, nonces.c.nonce).in_(chunk))
            ):
                earlier = from_row(SpentNonce, row)
                used[earlier.hotkey_hex, earlier.nonce] = earlier
        results: list[SpentNonce | None] = []
        fresh = []
        for record in records:
            key = record.hotkey_hex, record.nonce
            results.append(used.get(key))
            if key not in used:
                used[key] = record
                fresh.append(to_row(record))
        if fresh:
            await connection.execute(sa.insert(nonces), fresh)
        return results
