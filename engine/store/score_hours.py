"""What the sums of hours say about a node, a miner or all of them, and the score that is kept beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.store.database import Database
from engine.store.readers import Reading
from engine.store.records import HourSums
from engine.store.rows import in_chunks
from engine.store.tables import check_hours, fleet_hours

Place = tuple[str, str]


class ScoreHours:
    """Hours since 1970. A node without a check in an hour has no row there, and no score."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def note(self, hour: int, scores: Mapping[Place, float]) -> None:
        """Each node's score as it is now; the last one of an hour stays."""
        columns = check_hours.c
        statement = (
            sa.update(check_hours)
            .where(
                columns.hour == hour,
                columns.miner_hotkey == sa.bindparam("there_hotkey"),
                columns.node_id == sa.bindparam("there_node"),
            )
            .values(score=sa.bindparam("new_score"))
        )
        rows = [
            {"there_hotkey": hotkey, "there_node": node, "new_score": score} for (hotkey, node), score in scores.items()
        ]

        async def run(connection: AsyncConnection) -> None:
            for some in in_chunks(rows):
                await connection.execute(statement, some)
            mean = sa.select(sa.func.avg(columns.score)).where(columns.hour == hour).scalar_subquery()
            await connection.execute(sa.update(fleet_hours).where(fleet_hours.c.hour == hour).values(score=mean))

        await self._database.write(run)

    async def of(self, first: int, last: int, hotkey: str, node_id: str | None = None) -> list[HourSums]:
        """One miner's nodes, or one of them, in these hours."""
        columns = check_hours.c
        # Hour by hour, because the hour comes first in the key: a range would be read with everybody's nodes in it.
        statement = _sums().where(columns.hour.in_(range(first, last + 1)), columns.miner_hotkey == hotkey)
        if node_id is not None:
            statement = statement.where(columns.node_id == node_id)
        return await self._read(statement)

    async def of_hour(self, hour: int) -> dict[Place, HourSums]:
        """Every node that was checked in this hour."""
        columns = check_hours.c
        statement = _sums().add_columns(columns.miner_hotkey, columns.node_id).where(columns.hour == hour)

        async def run(connection: Reading) -> dict[Place, HourSums]:
            rows = (await connection.execute(statement)).all()
            return {(str(row[5]), str(row[6])): _hour(row[:5]) for row in rows}

        return await self._database.read(run)

    async def of_all(self, first: int, last: int) -> list[HourSums]:
        """All nodes together: sums, and the mean score."""
        columns = fleet_hours.c
        sums = sa.select(columns.hour, columns.passed, columns.logged_in, columns.total, columns.score)
        return await self._read(sums.where(columns.hour.between(first, last)))

    async def _read(self, statement: sa.Select[Any]) -> list[HourSums]:
        async def run(connection: Reading) -> list[HourSums]:
            rows = (await connection.execute(statement)).all()
            return [_hour(row) for row in rows]

        return await self._database.read(run)


def _hour(row: Sequence[Any]) -> HourSums:
    hour, passed, logged_in, total, score = row
    return HourSums(int(hour), int(passed), int(logged_in), int(total), None if score is None else float(score))


def _sums() -> sa.Select[Any]:
    columns = check_hours.c
    return sa.select(columns.hour, columns.passed, columns.logged_in, columns.total, columns.score)
