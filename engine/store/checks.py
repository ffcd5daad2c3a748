"""What checks do to the records, a group of them in one transaction: each check wholly or not at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.store.batching import GroupCommit
from engine.store.database import Database, upsert
from engine.store.records import GpuClaim, Misbehaviour, ValidatedNode, Verification
from engine.store.rows import from_row, in_chunks, to_row
from engine.store.tables import gpu_claims, misbehaviour, validated_nodes, verifications
from engine.store.verifications import Place, insert_verifications

C = TypeVar("C")

GATHER_S = 0.1
"""How long the first check of a group waits for others: a crash loses at most the checks of that time."""


@dataclass(frozen=True, slots=True)
class Question:
    """What a check needs to know before it is recorded: its node, and the GPUs that the node showed."""

    place: Place
    gpu_uuids: tuple[str, ...] = ()
    passes_since: float | None = None
    """If the node is new: since when a passed full verification counts for it."""


@dataclass(frozen=True, slots=True)
class Standing:
    """The answer. ``nodes`` has the owners of the GPUs too, ``first_full`` the new nodes alone."""

    nodes: Mapping[Place, ValidatedNode]
    claims: Sequence[GpuClaim]
    first_full: Mapping[Place, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Settlement:
    """What is to be stored. ``claims`` replace all GPUs of a node, ``seen`` dates those of a node anew."""

    verifications: Sequence[Verification]
    nodes: Sequence[ValidatedNode] = ()
    claims: Mapping[Place, Sequence[GpuClaim]] = field(default_factory=dict)
    seen: Mapping[Place, float] = field(default_factory=dict)
    misbehaviour: Sequence[Misbehaviour] = ()


class CheckWriter(Generic[C]):
    """Records checks in the order in which they come; callers wait until theirs is stored, so none piles up."""

    def __init__(
        self,
        database: Database,
        ask: Callable[[C], Question],
        settle: Callable[[Standing, Sequence[C]], Settlement],
        *,
        gather_s: float = GATHER_S,
    ) -> None:
        """``settle`` decides, within the transaction, what the checks of a group change; one verification for each."""
        self._dialect = database.dialect
        self._ask = ask
        self._settle = settle
        self._group: GroupCommit[C, Verification] = GroupCommit(database, self._work, gather_s=gather_s)

    async def record(self, check: C) -> Verification:
        """Returns what was stored. Raises StoreUnusable: it is not, and neither are the others of its group."""
        return await self._group.submit(check)

    async def flush(self) -> None:
        """Wait until nothing is pending."""
        await self._group.flush()

    async def _work(self, connection: AsyncConnection, checks: Sequence[C]) -> Sequence[Verification]:
        standing = await _standing(connection, [self._ask(check) for check in checks])
        settled = self._settle(standing, checks)
        await _store(connection, self._dialect, settled)
        return settled.verifications


async def _standing(connection: AsyncConnection, questions: Sequence[Question]) -> Standing:
    places = {question.place for question in questions}
    nodes = await _nodes(connection, places)
    claims: dict[str, GpuClaim] = {}
    for uuids in in_chunks(sorted({uuid for question in questions for uuid in question.gpu_uuids})):
        statement = sa.select(gpu_claims).where(gpu_claims.c.gpu_uuid.in_(uuids))
        for row in await connection.execute(statement):
            claims[row.gpu_uuid] = from_row(GpuClaim, row)
    owners = {(claim.miner_hotkey, claim.node_id) for claim in claims.values()} - places
    nodes |= await _nodes(connection, owners)
    first: dict[Place, float] = {}
    for question in questions:
        if question.passes_since is not None and question.place not in nodes and question.place not in first:
            at = await _first_full(connection, question.place, question.passes_since)
            if at is not None:
                first[question.place] = at
    return Standing(nodes, tuple(claims.values()), first)


async def _nodes(connection: AsyncConnection, places: set[Place]) -> dict[Place, ValidatedNode]:
    found: dict[Place, ValidatedNode] = {}
    columns = validated_nodes.c
    for some in in_chunks(sorted(places)):
        statement = sa.select(validated_nodes).where(
            columns.miner_hotkey.in_({hotkey for hotkey, _ in some}), columns.node_id.in_({node for _, node in some})
        )
        for row in await connection.execute(statement):
            place = row.miner_hotkey, row.node_id
            if place in places:
                found[place] = from_row(ValidatedNode, row)
    return found


async def _first_full(connection: AsyncConnection, place: Place, since: float) -> float | None:
    columns = verifications.c
    # Literal, so that SQLite sees that the index of full verifications alone has them all.
    is_full = columns.tier == sa.literal_column("'full'", sa.Text)
    statement = sa.select(sa.func.min(columns.at)).where(
        columns.miner_hotkey == place[0], columns.node_id == place[1], is_full, columns.at >= since, columns.ok
    )
    value = (await connection.execute(statement)).scalar()
    return None if value is None else float(value)


async def _store(connection: AsyncConnection, dialect: str, settled: Settlement) -> None:
    if settled.nodes:
        await connection.execute(upsert(dialect, validated_nodes), [to_row(node) for node in settled.nodes])
    if settled.claims:
        await connection.execute(sa.delete(gpu_claims).where(*_THERE), [_there(place) for place in settled.claims])
        rows = [to_row(claim) for claims in settled.claims.values() for claim in claims]
        if rows:
            await connection.execute(upsert(dialect, gpu_claims), rows)
    if settled.seen:
        dated = sa.update(gpu_claims).where(*_THERE).values(verified_at=sa.bindparam("seen_at"))
        await connection.execute(dated, [{**_there(place), "seen_at": at} for place, at in settled.seen.items()])
    await insert_verifications(connection, dialect, settled.verifications)
    if settled.misbehaviour:
        await connection.execute(sa.insert(misbehaviour), [to_row(entry) for entry in settled.misbehaviour])


_THERE: tuple[Any, ...] = (
    gpu_claims.c.miner_hotkey == sa.bindparam("there_hotkey"),
    gpu_claims.c.node_id == sa.bindparam("there_node"),
)


def _there(place: Place) -> dict[str, object]:
    return {"there_hotkey": place[0], "there_node": place[1]}
