"""What the validator holds of miners' nodes: the nodes, their GPUs, their misbehaviour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.store.database import Database, upsert
from engine.store.readers import Reading
from engine.store.records import GpuClaim, Misbehaviour, ValidatedNode
from engine.store.rows import read_records, to_row
from engine.store.tables import (
    check_hours,
    gpu_claims,
    latest_checks,
    misbehaviour,
    rentals,
    validated_nodes,
    verifications,
)

Place = tuple[str, str]
"""The miner's hotkey and the node's id: node ids alone are chosen by miners."""


class ValidatedRepository:
    """What the validator holds of miners' nodes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # --- nodes and their GPUs ---------------------------------------------------------------------------------

    async def nodes(self, miner_hotkey: str | None = None) -> list[ValidatedNode]:
        """All nodes, or one miner's, by miner uid and node id."""
        statement = sa.select(validated_nodes).order_by(validated_nodes.c.miner_uid, validated_nodes.c.node_id)
        if miner_hotkey is not None:
            statement = statement.where(validated_nodes.c.miner_hotkey == miner_hotkey)
        return await self._rows(ValidatedNode, statement)

    async def node(self, place: Place) -> ValidatedNode | None:
        """One node."""
        found: list[ValidatedNode] = await self._rows(
            ValidatedNode, sa.select(validated_nodes).where(*_is(validated_nodes, place))
        )
        return found[0] if found else None

    async def claims(self) -> list[GpuClaim]:
        """All GPUs that count, by node and index."""
        columns = gpu_claims.c
        order = (columns.miner_hotkey, columns.node_id, columns.gpu_index)
        return await self._rows(GpuClaim, sa.select(gpu_claims).order_by(*order))

    async def put(self, node: ValidatedNode, *, claims: Sequence[GpuClaim] | None = None) -> None:
        """Store a node; ``claims`` replace all GPUs that counted for it, None leaves them."""

        async def run(connection: AsyncConnection) -> None:
            await connection.execute(upsert(self._database.dialect, validated_nodes), [to_row(node)])
            if claims is not None:
                place = node.miner_hotkey, node.node_id
                await connection.execute(sa.delete(gpu_claims).where(*_is(gpu_claims, place)))
                if claims:
                    await connection.execute(
                        upsert(self._database.dialect, gpu_claims), [to_row(claim) for claim in claims]
                    )

        await self._database.write(run)

    async def clean_up(
        self, *, drop_claims: Sequence[Place], offline: Sequence[Place], forget: Sequence[Place]
    ) -> None:
        """Take GPUs from nodes, mark nodes offline without GPUs, delete nodes with theirs; all or nothing."""

        async def run(connection: AsyncConnection) -> None:
            for place in {*drop_claims, *forget}:
                await connection.execute(sa.delete(gpu_claims).where(*_is(gpu_claims, place)))
            for place in offline:
                change = sa.update(validated_nodes).where(*_is(validated_nodes, place))
                since = sa.func.coalesce(validated_nodes.c.offline_since, validated_nodes.c.last_check_at)
                await connection.execute(change.values(status="offline", gpu_count=0, offline_since=since))
            for place in forget:
                await connection.execute(sa.delete(validated_nodes).where(*_is(validated_nodes, place)))

        if drop_claims or offline or forget:
            await self._database.write(run)

    async def follow(self, *, moved: Mapping[str, int], swapped: Mapping[str, str], gone: Sequence[str]) -> None:
        """Give nodes the new uid of their miner, or its new hotkey, and delete those of miners that are gone.

        A hotkey that takes over may have been here before: what it left of a node of the same id gives way, and hours
        are added up.
        """
        tables = (validated_nodes, gpu_claims, misbehaviour, rentals, verifications, latest_checks, check_hours)

        async def run(connection: AsyncConnection) -> None:
            for hotkey, uid in moved.items():
                change = sa.update(validated_nodes).where(validated_nodes.c.miner_hotkey == hotkey)
                await connection.execute(change.values(miner_uid=uid))
            for old, new in swapped.items():
                await _make_way(connection, old, new)
                for table in tables:
                    await connection.execute(
                        sa.update(table).where(table.c.miner_hotkey == old).values(miner_hotkey=new)
                    )
            for hotkey in gone:
                for table in (validated_nodes, gpu_claims, latest_checks):
                    await connection.execute(sa.delete(table).where(table.c.miner_hotkey == hotkey))

        if moved or swapped or gone:
            await self._database.write(run)

    # --- misbehaviour -----------------------------------------------------------------------------------------

    async def add_misbehaviour(self, entry: Misbehaviour) -> None:
        """Put one on record."""

        async def run(connection: AsyncConnection) -> None:
            await connection.execute(sa.insert(misbehaviour), [to_row(entry)])

        await self._database.write(run)

    async def misbehaviour(self, since: float, place: Place | None = None) -> list[Misbehaviour]:
        """What is on record since then, oldest first."""
        statement = sa.select(misbehaviour).where(misbehaviour.c.at >= since).order_by(misbehaviour.c.id)
        if place is not None:
            statement = statement.where(*_is(misbehaviour, place))
        return await self._rows(Misbehaviour, statement)

    async def prune(self, before: float) -> None:
        """Delete misbehaviour from before this time."""

        async def run(connection: AsyncConnection) -> None:
            await connection.execute(sa.delete(misbehaviour).where(misbehaviour.c.at < before))

        await self._database.write(run)

    async def _rows(self, cls: type[Any], statement: sa.Select[Any]) -> list[Any]:
        async def run(connection: Reading) -> list[Any]:
            return await read_records(connection, cls, statement)

        return await self._database.read(run)


async def _make_way(connection: AsyncConnection, old: str, new: str) -> None:
    """Delete the new hotkey's rows that have the key of one that it is about to get."""
    for table, key in (
        (validated_nodes, ["node_id"]),
        (latest_checks, ["node_id"]),
        (check_hours, ["node_id", "hour"]),
    ):
        other = table.alias("other")
        same = [other.c[name] == table.c[name] for name in key]
        if table is check_hours:
            left = sa.select(other).where(other.c.miner_hotkey == new, *same)
            sums = {
                name: table.c[name] + left.with_only_columns(other.c[name]).scalar_subquery()
                for name in ("passed", "logged_in", "total")
            }
            await connection.execute(sa.update(table).where(table.c.miner_hotkey == old, left.exists()).values(sums))
        taken = sa.select(other).where(other.c.miner_hotkey == old, *same).exists()
        await connection.execute(sa.delete(table).where(table.c.miner_hotkey == new, taken))


def _is(table: sa.Table, place: Place) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    return table.c.miner_hotkey == place[0], table.c.node_id == place[1]
