"""What an accepted call leaves behind, in one transaction: a spent nonce, its session, and the session's opening."""

from __future__ import annotations

import dataclasses
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.store.bulk import BulkInsert, replacing
from engine.store.database import Database, upsert
from engine.store.nonces import NonceRepository
from engine.store.openings import OpeningRepository
from engine.store.records import Opening, Session, SpentNonce
from engine.store.rows import to_row
from engine.store.sessions import SessionRepository
from engine.store.tables import nonces, openings, sessions


@dataclass(frozen=True, slots=True)
class Admission:
    """An accepted call. ``change`` makes the hotkey's next session row from the present one; None leaves it."""

    hotkey: str
    spent: SpentNonce
    change: Callable[[Session | None], Session | None]
    opening: Opening | None = None


@dataclass(frozen=True, slots=True)
class Admitted:
    """``earlier`` is set when the nonce had been used before: then nothing of the admission was stored."""

    earlier: SpentNonce | None
    previous: Session | None


@dataclass(frozen=True, slots=True)
class _Plan:
    results: list[Admitted]
    sessions: list[Session]
    openings: list[Opening]


class AdmissionRepository:
    """Stores admissions in groups. Of several with the same nonce exactly one is stored."""

    def __init__(
        self,
        database: Database,
        nonce_rows: NonceRepository,
        session_rows: SessionRepository,
        opening_rows: OpeningRepository,
    ) -> None:
        self._database = database
        self._nonces = nonce_rows
        self._sessions = session_rows
        self._openings = opening_rows

    async def accept(self, admissions: Sequence[Admission]) -> list[Admitted]:
        """Store these, in their order; returns once all are on disk.

        Raises:
            StoreUnusable: none of them is.
        """
        await self._sessions.load()
        await self._openings.load()
        direct = self._database.direct
        if direct is None:
            plan = await self._database.write(lambda connection: self._store(connection, admissions), after=self._keep)
        else:
            plan = await self._database.write_beside(
                lambda: direct.transaction(lambda connection: self._store_directly(connection, admissions)),
                after=self._keep,
            )
        return plan.results

    def _plan(self, admissions: Sequence[Admission], earlier: Sequence[SpentNonce | None]) -> _Plan:
        """Runs inside the transaction: nobody else changes a session meanwhile."""
        changed: dict[str, Session] = {}
        opened: dict[tuple[str, str], Opening] = {}
        results = []
        for admission, used in zip(admissions, earlier, strict=True):
            if used is not None:
                results.append(Admitted(used, None))
                continue
            previous = changed.get(admission.hotkey) or self._sessions.known(admission.hotkey)
            results.append(Admitted(None, previous))
            session = admission.change(previous)
            if session is not None:
                changed[admission.hotkey] = session
            if admission.opening is not None:
                opened[admission.opening.hotkey, admission.opening.key_fingerprint] = admission.opening
        return _Plan(results, list(changed.values()), list(opened.values()))

    def _keep(self, plan: _Plan) -> None:
        self._sessions.keep(plan.sessions)
        self._openings.keep(plan.openings)

    async def _store(self, connection: AsyncConnection, admissions: Sequence[Admission]) -> _Plan:
        plan = self._plan(admissions, await self._nonces.spend_in(connection, [a.spent for a in admissions]))
        dialect = self._database.dialect
        for table, records in ((sessions, plan.sessions), (openings, plan.openings)):
            if records:
                await connection.execute(upsert(dialect, table), [to_row(record) for record in records])
        return plan

    def _store_directly(self, connection: sqlite3.Connection, admissions: Sequence[Admission]) -> _Plan:
        plan = self._plan(admissions, _spend(connection, [a.spent for a in admissions]))
        _SESSIONS.put(connection, plan.sessions)
        _OPENINGS.put(connection, plan.openings)
        return plan


class _Records:
    """Frozen records whose fields are named like the columns, in groups."""

    def __init__(self, table: sa.Table, record: type, conflict: str) -> None:
        names = [field.name for field in dataclasses.fields(record)]
        self._values = attrgetter(*names)
        self._rows = BulkInsert(table, names, conflict=conflict)

    def put(self, connection: sqlite3.Connection, records: Sequence[object]) -> int:
        """Returns how many rows were written."""
        return self._rows.put(connection, list(map(self._values, records)))


_NONCES = _Records(nonces, SpentNonce, "DO NOTHING")
_SESSIONS = _Records(sessions, Session, replacing(sessions))
_OPENINGS = _Records(openings, Opening, replacing(openings))
_FIND_NONCE = "SELECT {} FROM {} WHERE hotkey_hex = ? AND nonce = ?".format(  # noqa: S608 - our own names
    ", ".join(field.name for field in dataclasses.fields(SpentNonce)), nonces.name
)


def _spend(connection: sqlite3.Connection, records: Sequence[SpentNonce]) -> list[SpentNonce | None]:
    """Who used each nonce before; None for those that are used by this."""
    if _NONCES.put(connection, records) == len(records):
        return [None] * len(records)
    earlier = []
    for record in records:
        found = SpentNonce(*connection.execute(_FIND_NONCE, (record.hotkey_hex, record.nonce)).fetchone())
        # Every answer has a token of its own, so an equal row is this record's.
        earlier.append(None if found == record else found)
    return earlier
