"""The audit log's rows. There is no way here to change or delete one."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from operator import attrgetter

import sqlalchemy as sa

from engine.store.bulk import BulkInsert
from engine.store.database import Database
from engine.store.readers import Reading
from engine.store.records import AuditRecord
from engine.store.rows import from_row
from engine.store.tables import audit

TEXT_COLUMNS = (audit.c.kind, audit.c.actor, audit.c.subject, audit.c.outcome, audit.c.details)
_NAMES = tuple(field.name for field in dataclasses.fields(AuditRecord))
_VALUES = attrgetter(*_NAMES)
_RECORDS = BulkInsert(audit, _NAMES)
FIXED_BYTES = 150
"""Number, time and both hashes of a record, roughly."""


@dataclass(frozen=True, slots=True)
class AuditSize:
    """How much there is; ``bytes`` is the content, without the database's own overhead."""

    records: int
    bytes: int


class AuditRepository:
    """Appends, and reads in order."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def append(self, records: Sequence[AuditRecord]) -> None:
        """Store all of them for good, or none. A number that is taken is an error, never an overwrite.

        Raises:
            StoreUnusable: nothing was stored.
        """
        # What was done must be on record even when the disk is full.
        await _RECORDS.store(self._database, [_VALUES(record) for record in records], is_urgent=True)

    async def head(self) -> AuditRecord | None:
        """The newest record."""
        return await self._one(sa.select(audit).order_by(audit.c.seq.desc()).limit(1))

    async def get(self, seq: int) -> AuditRecord | None:
        """One record."""
        return await self._one(sa.select(audit).where(audit.c.seq == seq))

    async def size(self) -> AuditSize:
        """How many records, how many bytes."""
        length = sum((sa.func.length(column) for column in TEXT_COLUMNS), sa.literal(FIXED_BYTES))
        statement = sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(length), 0)).select_from(audit)

        async def run(connection: Reading) -> AuditSize:
            count, total = (await connection.execute(statement)).one()
            return AuditSize(int(count), int(total))

        return await self._database.read(run)

    async def iterate(
        self, *, after_seq: int = -(2**62), since: float | None = None, page: int = 1_000
    ) -> AsyncIterator[AuditRecord]:
        """Records in order of their numbers, a page at a time, so that no reader stays open and holds the journal."""
        while True:
            statement = sa.select(audit).where(audit.c.seq > after_seq).order_by(audit.c.seq).limit(page)
            if since is not None:
                statement = statement.where(audit.c.at >= since)
            rows = await self._select(statement)
            for row in rows:
                yield row
            if len(rows) < page:
                return
            after_seq = rows[-1].seq

    async def _one(self, statement: sa.Select[tuple[object, ...]]) -> AuditRecord | None:
        rows = await self._select(statement)
        return rows[0] if rows else None

    async def _select(self, statement: sa.Select[tuple[object, ...]]) -> list[AuditRecord]:
        async def run(connection: Reading) -> list[AuditRecord]:
            return [from_row(AuditRecord, row) for row in await connection.execute(statement)]

        return await self._database.read(run)
