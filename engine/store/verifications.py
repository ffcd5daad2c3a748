"""What our validator found on miners' nodes: every check, the newest of each node, and sums by the hour."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.store.database import Database, insert_or
from engine.store.readers import Reading
from engine.store.records import CheckCounts, LatestCheck, Verification, VerificationStep
from engine.store.rows import ROWS_PER_TURN, read_records, to_row
from engine.store.tables import check_hours, fleet_hours, latest_checks, verifications

DAY_S = 86_400.0
HOUR_S = 3_600.0
DELETE_ROWS = 2_000
Place = tuple[str, str]
"""The miner's hotkey and the node's id: node ids alone are chosen by miners."""
SSH_CODES, BANNED = "ssh_", "node_banned"
"""Every failure before a command's result has a code that begins so, or is a visit that was not made; later ones prove
a login."""


def has_logged_in(error_code: str) -> bool:
    """Whether a check that ended so proves a login."""
    return not error_code.startswith(SSH_CODES) and error_code != BANNED


class VerificationRepository:
    """Verifications in the order in which they were added."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, *records: Verification) -> None:
        """Store them in order, all or none; their ids must be new."""

        async def run(connection: AsyncConnection) -> None:
            await insert_verifications(connection, self._database.dialect, records)

        await self._database.write(run)

    async def latest(self) -> list[Verification]:
        """The newest verification of each node that had one in the last day that has any, newest first.

        Without their steps: thousands are read at once, and nobody looks at all of them.
        """
        columns = latest_checks.c
        since = sa.select(sa.func.max(columns.at) - DAY_S).scalar_subquery()
        ids = sa.select(columns.verification_id).where(columns.at >= since)
        fields = [column for column in verifications.c if column.name != "steps"]
        rows = await self._select(sa.select(*fields).where(verifications.c.id.in_(ids)))
        return sorted(rows, key=lambda row: row.at, reverse=True)

    async def latest_checks(self) -> list[LatestCheck]:
        """How the newest check of each node ended."""

        async def run(connection: Reading) -> list[LatestCheck]:
            return await read_records(connection, LatestCheck, sa.select(latest_checks))

        return await self._database.read(run)

    async def counts(self, since: float) -> dict[Place, CheckCounts]:
        """Each node's checks since then: passed, logged in, all.

        Whole hours come from their sums; only the part of an hour with which the window begins is counted row by row.
        """
        whole = math.ceil(since / HOUR_S)
        rows = verifications.c
        # As expressions, the keys keep SQLite from walking the whole history in the order of the nodes' index. Literal:
        # PostgreSQL does not see that two parameters are the same expression.
        nothing = sa.literal_column("''", sa.Text)
        hotkey, node_id = sa.func.coalesce(rows.miner_hotkey, nothing), sa.func.coalesce(rows.node_id, nothing)
        passed = sa.func.sum(sa.case((rows.ok, 1), else_=0))
        is_out = sa.or_(rows.error_code.like("ssh\\_%", escape="\\"), rows.error_code == BANNED)
        logged_in = sa.func.sum(sa.case((is_out, 0), else_=1))
        part = (
            sa.select(hotkey, node_id, passed, logged_in, sa.func.count())
            .where(rows.at >= since, rows.at < whole * HOUR_S)
            .group_by(hotkey, node_id)
        )
        sums = check_hours.c
        total = (
            sa.select(
                sums.miner_hotkey, sums.node_id, sa.func.sum(sums.passed), sa.func.sum(sums.logged_in),
                sa.func.sum(sums.total),
            )
            .where(sums.hour >= whole)
            .group_by(sums.miner_hotkey, sums.node_id)
        )  # fmt: skip

        async def run(connection: Reading) -> dict[Place, CheckCounts]:
            found: dict[Place, CheckCounts] = {}
            for statement in (total, part):
                for row in await connection.execute(statement):
                    add_counts(found, (row[0], row[1]), CheckCounts(int(row[2]), int(row[3]), int(row[4])))
            return found

        return await self._database.read(run)

    async def recent(
        self,
        limit: int,
        *,
        failed_only: bool = False,
        miners: Collection[str] | None = None,
        node_id: str | None = None,
        before: str | None = None,
    ) -> list[Verification]:
        """The last ones, newest first: of all nodes, of some miners, of one node of these miners.

        ``before`` is the id of the verification to go on after. A ``node_id`` is found only with ``miners``: ids of
        nodes are chosen by miners, and there is no other index.
        """
        columns = verifications.c
        if miners is not None and not failed_only:
            page = _newest_of(self._database.dialect, miners, node_id, limit, before).subquery()
        else:
            page = _last(limit, miners, node_id, before, failed_only=failed_only).subquery()
        # Rows with all their steps are read for the page only.
        rows = sa.select(verifications).join(page, columns.seq == page.c.seq)
        return await self._select(rows.order_by(columns.seq.desc()))

    async def miners_of(self, node_id: str) -> list[str]:
        """The hotkeys of the miners of which a node with this id was ever checked."""
        columns = latest_checks.c

        async def run(connection: Reading) -> list[str]:
            statement = sa.select(columns.miner_hotkey).where(columns.node_id == node_id)
            return [str(row[0]) for row in await connection.execute(statement)]

        return await self._database.read(run)

    async def prune(self, before: float, *, lightweight_before: float | None = None) -> int:
        """Delete what was made before this time, some thousands per transaction; returns how many checks.

        ``lightweight_before``: passed lightweight checks go earlier; their sums stay.
        """
        columns = verifications.c
        some = sa.select(columns.seq).where(columns.at < before).limit(DELETE_ROWS)
        count = await self._database.write_in_steps(sa.delete(verifications).where(columns.seq.in_(some)))
        if lightweight_before is not None and lightweight_before > before:
            light = sa.select(columns.seq).where(
                columns.at < lightweight_before, columns.tier == "lightweight", columns.ok
            ).limit(DELETE_ROWS)  # fmt: skip
            count += await self._database.write_in_steps(sa.delete(verifications).where(columns.seq.in_(light)))
        hour = math.floor(before / HOUR_S)

        async def run(connection: AsyncConnection) -> None:
            for sums in (check_hours, fleet_hours):
                await connection.execute(sa.delete(sums).where(sums.c.hour < hour))
            await connection.execute(sa.delete(latest_checks).where(latest_checks.c.at < before))

        await self._database.write(run)
        return count

    async def _select(self, statement: sa.Select[Any]) -> list[Verification]:
        async def run(connection: Reading) -> list[Verification]:
            result, found = await connection.execute(statement), []
            while rows := result.fetchmany(ROWS_PER_TURN):
                found += [_verification(row) for row in rows]
                await asyncio.sleep(0)
            return found

        return await self._database.read(run)


async def insert_verifications(connection: AsyncConnection, dialect: str, records: Sequence[Verification]) -> None:
    """Within a transaction: the rows, what is newest of each node, and the sums of their hours."""
    if not records:
        return
    await connection.execute(sa.insert(verifications), [_row(record) for record in records])
    newest = insert_or(dialect, latest_checks)
    failed = sa.case((latest_checks.c.ok, None), else_=latest_checks.c.at)
    taken = {name: newest.excluded[name] for name in ("verification_id", "at", "ok")}
    await connection.execute(
        newest.on_conflict_do_update(index_elements=_PLACE, set_={**taken, "failed_before_at": failed}),
        [
            {
                **{name: getattr(record, name) for name in (*_PLACE, "at", "ok")},
                "verification_id": record.id,
                "failed_before_at": None,
            }
            for record in records
        ],
    )
    hours = _hours(records)
    for table, key, rows in ((check_hours, ["hour", *_PLACE], hours), (fleet_hours, ["hour"], _of_all(hours))):
        sums = insert_or(dialect, table)
        more = {name: table.c[name] + sums.excluded[name] for name in _COUNTS}
        await connection.execute(sums.on_conflict_do_update(index_elements=key, set_=more), rows)


def _seq_of(name: str) -> sa.ScalarSelect[Any]:
    return sa.select(verifications.c.seq).where(verifications.c.id == name).scalar_subquery()


def _last(
    limit: int, miners: Collection[str] | None, node_id: str | None, before: str | None, *, failed_only: bool
) -> sa.Select[int]:
    """The last of everything, or what is rare."""
    columns = verifications.c
    statement = sa.select(columns.seq).limit(limit)
    if failed_only:
        statement = statement.where(sa.not_(columns.ok))
    if miners is not None:
        statement = statement.where(columns.miner_hotkey.in_(list(miners)))
    if node_id is not None:
        statement = statement.where(columns.node_id == node_id)
    if before is not None:
        statement = statement.where(columns.seq < _seq_of(before))
    # With a miner its index must be used, not the order: what is rare lies at the end of a long walk.
    order = columns.seq if miners is None else columns.seq + 0
    return statement.order_by(order.desc())


def _newest_of(
    dialect: str, miners: Collection[str], node_id: str | None, limit: int, before: str | None
) -> sa.Select[int]:
    """The newest of some miners' nodes.

    Each node's index has its newest at one end, so a few rows of each are looked at: a miner's months of checks would
    have to be sorted for the same page. Each kind of database has its own words for "of each".
    """
    places, rows = latest_checks, verifications.alias("checks_of_one")
    of_one = sa.select(rows.c.seq).where(
        rows.c.miner_hotkey == places.c.miner_hotkey, rows.c.node_id == places.c.node_id
    )
    if before is not None:
        of_one = of_one.where(rows.c.seq < _seq_of(before))
    of_one = of_one.order_by(rows.c.seq.desc()).limit(limit).correlate(places)
    if dialect == "postgresql":
        each = of_one.lateral()
        seq, found = each.c.seq, places.join(each, sa.true())
    else:
        seq = verifications.c.seq
        found = places.join(verifications, seq.in_(of_one))
    wanted = sa.select(seq).select_from(found).where(places.c.miner_hotkey.in_(list(miners)))
    if node_id is not None:
        wanted = wanted.where(places.c.node_id == node_id)
    return wanted.order_by(seq.desc()).limit(limit)


_PLACE = ["miner_hotkey", "node_id"]
_COUNTS = ("passed", "logged_in", "total")


def add_counts(found: dict[Place, CheckCounts], place: Place, more: CheckCounts) -> None:
    """Add one node's counts to those that are there."""
    known = found.get(place)
    found[place] = (
        more
        if known is None
        else CheckCounts(known.passed + more.passed, known.logged_in + more.logged_in, known.total + more.total)
    )


def _of_all(hours: Iterable[Mapping[str, Any]]) -> list[dict[str, int]]:
    """The sums of all nodes."""
    found: dict[int, dict[str, int]] = {}
    for row in hours:
        sums = found.setdefault(row["hour"], {"hour": row["hour"], **dict.fromkeys(_COUNTS, 0)})
        for name in _COUNTS:
            sums[name] += row[name]
    return list(found.values())


def _hours(records: Iterable[Verification]) -> list[dict[str, Any]]:
    found: dict[tuple[int, str, str], list[int]] = {}
    for record in records:
        key = math.floor(record.at / HOUR_S), record.miner_hotkey, record.node_id
        counts = found.setdefault(key, [0, 0, 0])
        counts[0] += record.ok
        counts[1] += has_logged_in(record.error_code)
        counts[2] += 1
    return [
        {"hour": hour, "miner_hotkey": hotkey, "node_id": node, "passed": passed, "logged_in": entered, "total": total}
        for (hour, hotkey, node), (passed, entered, total) in found.items()
    ]


def _row(record: Verification) -> dict[str, Any]:
    steps = [[step.step, step.verdict, step.evidence, step.duration_ms] for step in record.steps]
    packed = json.dumps(steps, separators=(",", ":"), ensure_ascii=False) if steps else ""
    return {**to_row(record), "gpu_uuids": json.dumps(record.gpu_uuids), "steps": packed}


def _verification(row: sa.Row[Any]) -> Verification:
    values = dict(row._mapping)
    del values["seq"]
    values["gpu_uuids"] = tuple(json.loads(values["gpu_uuids"]))
    values["steps"] = tuple(VerificationStep(*step) for step in json.loads(values.get("steps") or "[]"))
    return Verification(**values)
