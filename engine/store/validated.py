"""The validator's tables: nodes and their GPUs, steps, misbehaviour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.store.database import Database, upsert
from engine.store.records import CheckCounts, GpuClaim, Misbehaviour, ValidatedNode, VerificationStep
from engine.store.rows import from_row, to_row
from engine.store.tables import gpu_claims, misbehaviour, validated_nodes, verification_steps, verifications

DELETE_ROWS = 2_000
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

    async def claims_of(self, uuids: Sequence[str], place: Place) -> list[GpuClaim]:
        """The claims on these GPUs, and those of this node."""
        statement = sa.select(gpu_claims).where(
            sa.or_(gpu_claims.c.gpu_uuid.in_(list(uuids)), sa.and_(*_is(gpu_claims, place)))
        )
        return await self._rows(GpuClaim, statement)

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

    async def renew(self, node: ValidatedNode, at: float) -> None:
        """Store a node that is there already, and date its GPUs anew; both or neither."""
        place = node.miner_hotkey, node.node_id

        async def run(connection: AsyncConnection) -> None:
            change = sa.update(validated_nodes).where(*_is(validated_nodes, place))
            await connection.execute(change.values(**to_row(node)))
            dated = sa.update(gpu_claims).where(*_is(gpu_claims, place))
            await connection.execute(dated.values(verified_at=at))

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
        """Give nodes the new uid of their miner, or its new hotkey, and delete those of miners that are gone."""
        tables = (validated_nodes, gpu_claims, misbehaviour, verifications)

        async def run(connection: AsyncConnection) -> None:
            for hotkey, uid in moved.items():
                change = sa.update(validated_nodes).where(validated_nodes.c.miner_hotkey == hotkey)
                await connection.execute(change.values(miner_uid=uid))
            for old, new in swapped.items():
                for table in tables:
                    await connection.execute(
                        sa.update(table).where(table.c.miner_hotkey == old).values(miner_hotkey=new)
                    )
            for hotkey in gone:
                for table in (validated_nodes, gpu_claims):
                    await connection.execute(sa.delete(table).where(table.c.miner_hotkey == hotkey))

        if moved or swapped or gone:
            await self._database.write(run)

    # --- checks -----------------------------------------------------------------------------------------------

    async def add_steps(self, steps: Sequence[VerificationStep]) -> None:
        """Store the steps of one verification."""

        async def run(connection: AsyncConnection) -> None:
            await connection.execute(sa.insert(verification_steps), [to_row(step) for step in steps])

        if steps:
            await self._database.write(run)

    async def steps_of(self, verification_ids: Sequence[str]) -> dict[str, list[VerificationStep]]:
        """The steps of several verifications, each in order."""
        columns = verification_steps.c
        statement = sa.select(verification_steps).where(columns.verification_id.in_(list(verification_ids)))
        found: dict[str, list[VerificationStep]] = {}
        for step in await self._rows(VerificationStep, statement.order_by(columns.verification_id, columns.position)):
            found.setdefault(step.verification_id, []).append(step)
        return found

    async def steps(self, verification_id: str) -> list[VerificationStep]:
        """The steps of one verification in order."""
        statement = sa.select(verification_steps).where(verification_steps.c.verification_id == verification_id)
        return await self._rows(VerificationStep, statement.order_by(verification_steps.c.position))

    async def counts(self, since: float) -> dict[Place, CheckCounts]:
        """Each node's checks since then: passed, logged in, all."""
        columns = verifications.c
        # Every failure before a command's result has a code that begins with ssh_; later ones prove a login.
        logged_in = sa.case((columns.error_code.like("ssh\\_%", escape="\\"), 0), else_=1)
        # As expressions, the keys keep SQLite from walking the whole history in the order of the nodes' index. Literal:
        # PostgreSQL does not see that two parameters are the same expression.
        nothing = sa.literal_column("''", sa.Text)
        hotkey, node_id = sa.func.coalesce(columns.miner_hotkey, nothing), sa.func.coalesce(columns.node_id, nothing)
        statement = (
            sa.select(
                hotkey,
                node_id,
                sa.func.sum(sa.case((columns.ok, 1), else_=0)),
                sa.func.sum(logged_in),
                sa.func.count(),
            )
            .where(columns.at >= since)
            .group_by(hotkey, node_id)
        )

        async def run(connection: AsyncConnection) -> dict[Place, CheckCounts]:
            rows = await connection.execute(statement)
            return {(row[0], row[1]): CheckCounts(int(row[2]), int(row[3]), int(row[4])) for row in rows}

        return await self._database.read(run)

    async def first_full_ok(self, place: Place, since: float) -> float | None:
        """When the node first passed a full verification since then."""
        columns = verifications.c
        statement = sa.select(sa.func.min(columns.at)).where(
            *_is(verifications, place), columns.tier == "full", columns.ok, columns.at >= since
        )

        async def run(connection: AsyncConnection) -> float | None:
            value = (await connection.execute(statement)).scalar()
            return None if value is None else float(value)

        return await self._database.read(run)

    async def last_two_failed(self, place: Place, since: float) -> bool:
        """Whether there are two checks since then and the newest two failed."""
        columns = verifications.c
        statement = (
            sa.select(columns.ok).where(*_is(verifications, place), columns.at >= since).order_by(columns.seq.desc())
        ).limit(2)

        async def run(connection: AsyncConnection) -> bool:
            results = [bool(row[0]) for row in await connection.execute(statement)]
            return results == [False, False]

        return await self._database.read(run)

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
        """Delete steps and misbehaviour from before this time, some thousands per transaction."""
        ids = sa.select(verification_steps.c.verification_id).where(verification_steps.c.at < before).limit(DELETE_ROWS)
        await self._database.write_in_steps(
            sa.delete(verification_steps).where(verification_steps.c.verification_id.in_(ids))
        )

        async def run(connection: AsyncConnection) -> None:
            await connection.execute(sa.delete(misbehaviour).where(misbehaviour.c.at < before))

        await self._database.write(run)

    async def _rows(self, cls: type[Any], statement: sa.Select[Any]) -> list[Any]:
        async def run(connection: AsyncConnection) -> list[Any]:
            return [from_row(cls, row) for row in await connection.execute(statement)]

        return await self._database.read(run)


def _is(table: sa.Table, place: Place) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    return table.c.miner_hotkey == place[0], table.c.node_id == place[1]
