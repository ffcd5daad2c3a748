"""Which nodes are rented, as somebody who rents them out has said."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.store.database import Database
from engine.store.readers import Reading
from engine.store.records import Rental
from engine.store.rows import from_row, to_row
from engine.store.tables import rentals

Place = tuple[str, str]


class RentalRepository:
    """Rentals by id; one that ended stays on record until it is pruned."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, rental: Rental) -> Rental | None:
        """Put a rental on record. The answer is None, or the one that stands in its way: same id, or same node."""
        columns = rentals.c
        is_taken = sa.or_(
            columns.id == rental.id,
            sa.and_(
                columns.miner_hotkey == rental.miner_hotkey,
                columns.node_id == rental.node_id,
                columns.ended_at.is_(None),
            ),
        )

        async def run(connection: AsyncConnection) -> Rental | None:
            row = (await connection.execute(sa.select(rentals).where(is_taken).limit(1))).first()
            if row is not None:
                return from_row(Rental, row)
            await connection.execute(sa.insert(rentals), [to_row(rental)])
            return None

        return await self._database.write(run)

    async def end(self, rental_id: str, at: float, reason: str) -> Rental | None:
        """End one; returns it as it is now, None when there is none or it has ended before."""
        columns = rentals.c

        async def run(connection: AsyncConnection) -> Rental | None:
            change = sa.update(rentals).where(columns.id == rental_id, columns.ended_at.is_(None))
            result = await connection.execute(change.values(ended_at=at, end_reason=reason))
            if not result.rowcount:
                return None
            row = (await connection.execute(sa.select(rentals).where(columns.id == rental_id))).one()
            return from_row(Rental, row)

        return await self._database.write(run)

    async def get(self, rental_id: str) -> Rental | None:
        """One, standing or over."""

        async def run(connection: Reading) -> Rental | None:
            row = (await connection.execute(sa.select(rentals).where(rentals.c.id == rental_id))).first()
            return None if row is None else from_row(Rental, row)

        return await self._database.read(run)

    async def is_rented(self, place: Place) -> bool:
        """Whether somebody has this node now."""
        columns = rentals.c
        statement = sa.select(columns.id).where(
            columns.miner_hotkey == place[0], columns.node_id == place[1], columns.ended_at.is_(None)
        )

        async def run(connection: Reading) -> bool:
            return (await connection.execute(statement.limit(1))).first() is not None

        return await self._database.read(run)

    async def all(self, *, is_active: bool | None = None) -> list[Rental]:
        """All on record, newest first; only those that stand, or only those that ended."""
        statement = sa.select(rentals).order_by(rentals.c.started_at.desc(), rentals.c.id)
        if is_active is not None:
            ended = rentals.c.ended_at
            statement = statement.where(ended.is_(None) if is_active else ended.is_not(None))

        async def run(connection: Reading) -> list[Rental]:
            return [from_row(Rental, row) for row in await connection.execute(statement)]

        return await self._database.read(run)

    async def standing(self) -> tuple[frozenset[Place], dict[Place, float]]:
        """The rented nodes, and when the last rental of the others ended."""
        rented: set[Place] = set()
        ended: dict[Place, float] = {}
        for rental in await self.all():
            place = rental.miner_hotkey, rental.node_id
            if rental.ended_at is None:
                rented.add(place)
            else:
                ended[place] = max(ended.get(place, 0.0), rental.ended_at)
        return frozenset(rented), ended

    async def prune(self, before: float) -> None:
        """Delete those that ended before this time."""

        async def run(connection: AsyncConnection) -> None:
            await connection.execute(sa.delete(rentals).where(rentals.c.ended_at < before))

        await self._database.write(run)
