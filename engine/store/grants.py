"""Grants: desired access, written before any node is touched."""

from __future__ import annotations

import binascii
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.store.database import Database, upsert
from engine.store.readers import Reading
from engine.store.records import Grant
from engine.store.rows import from_row, in_chunks, to_row
from engine.store.soundness import fault_in
from engine.store.tables import grants

log = structlog.get_logger()

_RENEWED = ("renewed_at", "expires_at", "wrapped", "certified")
"""What a renewal decides."""


class GrantRepository:
    """All grants whose line may still be on a node, and the history of the others."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._damaged: dict[str, str] = {}
        self._damaged_on: dict[str, set[str]] = {}
        self._tell: Callable[[str, str, str], None] | None = None

    @property
    def damaged(self) -> frozenset[str]:
        """Ids of rows that were read and make no sense. They are in no answer; their keys belong nowhere."""
        return frozenset(self._damaged)

    @property
    def damaged_on(self) -> Mapping[str, Collection[str]]:
        """By node, the damaged ids whose line may still be there."""
        return self._damaged_on

    async def close_damaged(self, node_id: str, ids: Collection[str], at: float) -> None:
        """No line under these damaged ids is on the node any more: the rows are closed, and kept as they are."""
        await self.mark_removed(sorted(ids), at)
        self._drop_damaged(node_id, ids)

    def tell_damage(self, tell: Callable[[str, str, str], None]) -> None:
        """Have each damaged row told once: its id, its node, and what is wrong with it."""
        self._tell = tell

    async def put_many(self, records: Iterable[Grant]) -> None:
        """Store all of them or none; a grant with a known id replaces the earlier row."""
        rows = [to_row(record) for record in records]
        if not rows:
            return

        async def run(connection: AsyncConnection) -> None:
            await connection.execute(upsert(self._database.dialect, grants), rows)

        await self._database.write(run)

    async def grant(self, new: Sequence[Grant], renewed: Sequence[Grant]) -> frozenset[str]:
        """Store new grants and put off the end of others, all or none; the ids of those that were still open to it.

        A renewal writes what a renewal decides and nothing else: since its row was read, the grant may have been ended,
        or its line read back from the node. One that has ended stays ended.
        """
        rows = [to_row(record) for record in new]

        async def run(connection: AsyncConnection) -> frozenset[str]:
            if rows:
                await connection.execute(upsert(self._database.dialect, grants), rows)
            prolonged: set[str] = set()
            for values, ids in _renewals(renewed).items():
                for chunk in in_chunks(ids):
                    still_open = grants.c.id.in_(chunk) & grants.c.ended_at.is_(None) & grants.c.removed_at.is_(None)
                    found = await connection.execute(sa.select(grants.c.id).where(still_open))
                    prolonged.update(row.id for row in found)
                    changed = dict(zip(_RENEWED, values, strict=True))
                    await connection.execute(sa.update(grants).where(still_open).values(changed))
            return frozenset(prolonged)

        return await self._database.write(run)

    async def move(self, ids: Sequence[str], node_id: str) -> None:
        """These grants are another node's from now on."""
        await self._update(ids, {"node_id": node_id})
        for former, damaged in tuple(self._damaged_on.items()):
            if moved := damaged.intersection(ids):
                self._drop_damaged(former, moved)
                self._damaged_on.setdefault(node_id, set()).update(moved)

    async def open(self) -> list[Grant]:
        """Grants whose line has not been confirmed gone, oldest first."""
        return await self._select(grants.c.removed_at.is_(None))

    async def open_for_node(self, node_id: str) -> list[Grant]:
        """The open grants of one node, oldest first."""
        return await self._select(grants.c.removed_at.is_(None), grants.c.node_id == node_id)

    async def get(self, grant_id: str) -> Grant | None:
        """One grant, open or not."""
        found = await self._select(grants.c.id == grant_id)
        return found[0] if found else None

    async def mark_deployed(self, grant_id: str, exp: int, at: float) -> None:
        """Record that the line with this expiry was read back from the node."""
        await self._update([grant_id], {"deployed_exp": exp, "deployed_at": at})

    async def end(self, ids: Sequence[str], at: float, reason: str) -> None:
        """Stop wanting these keys. One that ended before keeps its time and reason."""
        await self._update(ids, {"ended_at": at, "end_reason": reason}, grants.c.ended_at.is_(None))

    async def mark_removed(self, ids: Sequence[str], at: float) -> None:
        """Record that the lines were seen gone; the grants are closed."""
        await self._update(ids, {"removed_at": at}, grants.c.removed_at.is_(None))

    async def prune(self, before: float) -> int:
        """Delete grants that were closed before this time; returns how many."""

        async def run(connection: AsyncConnection) -> int:
            result = await connection.execute(sa.delete(grants).where(grants.c.removed_at < before))
            return result.rowcount

        return await self._database.write(run)

    async def _select(self, *conditions: sa.ColumnElement[bool]) -> list[Grant]:
        statement = sa.select(grants).where(*conditions).order_by(grants.c.created_at, grants.c.id)

        async def run(connection: Reading) -> list[tuple[Grant, str]]:
            found = [from_row(Grant, row) for row in await connection.execute(statement)]
            return [(grant, _fault_in(grant)) for grant in found]

        judged = await self._database.read(run)
        self._note([(grant, why) for grant, why in judged if why])
        return [grant for grant, why in judged if not why]

    def _drop_damaged(self, node_id: str, ids: Collection[str]) -> None:
        left = self._damaged_on.pop(node_id, set()).difference(ids)
        if left:
            self._damaged_on[node_id] = left

    def _note(self, damaged: Sequence[tuple[Grant, str]]) -> None:
        for grant, why in damaged:
            grant_id, node_id = str(grant.id), str(grant.node_id)
            if self._damaged.get(grant_id) == why:
                continue
            self._damaged_on.setdefault(node_id, set()).add(grant_id)
            self._damaged[grant_id] = why
            log.error("store.row_damaged", table=grants.name, id=grant_id, why=why)
            if self._tell is not None:
                self._tell(grant_id, node_id, why)

    async def _update(self, ids: Sequence[str], values: dict[str, Any], *conditions: sa.ColumnElement[bool]) -> None:
        if not ids:
            return

        async def run(connection: AsyncConnection) -> None:
            for chunk in in_chunks(ids):
                await connection.execute(sa.update(grants).where(grants.c.id.in_(chunk), *conditions).values(**values))

        # What happened on a node must be on record even when the disk is full.
        await self._database.write(run, is_urgent=True)


def _fault_in(grant: Grant) -> str:
    if why := fault_in(grant):
        return why
    try:
        binascii.a2b_base64(grant.blob_base64, strict_mode=True)
    except ValueError:
        return f"blob_base64 is {grant.blob_base64[:40]!r}"
    return ""


def _renewals(renewed: Iterable[Grant]) -> dict[tuple[Any, ...], list[str]]:
    """Ids by what is to be written: one statement for a whole plan, whose renewals are all alike."""
    found: dict[tuple[Any, ...], list[str]] = {}
    for grant in renewed:
        found.setdefault(tuple(getattr(grant, name) for name in _RENEWED), []).append(grant.id)
    return found
