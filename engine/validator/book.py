"""The validator's records of miners' nodes: what is known as a round begins, and what checks leave behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from engine.clock import Clock
from engine.events import EventSink, NodeMisbehaved
from engine.store import Store
from engine.store.checks import CheckWriter
from engine.store.records import LatestCheck, ValidatedNode, Verification
from engine.validator.bans import COUNTED_S, banned_until
from engine.validator.miner_nodes import OfferedNode
from engine.validator.schedule import UNKNOWN, History
from engine.validator.settlement import DAY_S, Check, Place, question_of, settle


@dataclass(frozen=True, slots=True)
class Known:
    """What the records say as a round begins. ``nodes`` are those of each miner, by hotkey."""

    histories: Mapping[Place, History]
    bans: Mapping[Place, float]
    held: Mapping[Place, frozenset[str]]
    nodes: Mapping[str, Sequence[OfferedNode]]

    def history(self, place: Place) -> History:
        """A node's history, that of a stranger when there is none."""
        return self.histories.get(place, UNKNOWN)


class Book:
    """Reads once a round; writes checks in groups, one after the other: of two nodes with one GPU one gets it."""

    def __init__(self, store: Store, clock: Clock, emit: EventSink, *, failed_full_resets: bool) -> None:
        self._store = store
        self._clock = clock
        self._emit = emit
        rules = partial(settle, failed_full_resets=failed_full_resets)
        self._writer: CheckWriter[Check] = store.check_writer(question_of, rules)

    async def known(self) -> Known:
        """Everything that decides over a round. Raises StoreUnusable."""
        validated = self._store.validated
        held: dict[Place, set[str]] = {}
        for claim in await validated.claims():
            held.setdefault((claim.miner_hotkey, claim.node_id), set()).add(claim.gpu_uuid)
        nodes = await validated.nodes()
        rented, ended = await self._store.rentals.standing()
        histories = {
            place: History(node.status, node.full_ok_at, len(held.get(place, ())), place in rented, ended.get(place))
            for node in nodes
            for place in [(node.miner_hotkey, node.node_id)]
        }
        histories |= {place: History(is_rented=True) for place in rented if place not in histories}
        return Known(
            histories,
            await self._bans(),
            {place: frozenset(uuids) for place, uuids in held.items()},
            _offered(nodes),
        )

    async def is_rented(self, place: Place) -> bool:
        """Whether somebody has this node now, and not only as the round began. Raises StoreUnusable."""
        return await self._store.rentals.is_rented(place)

    async def _bans(self) -> dict[Place, float]:
        """The banned nodes, and until when."""
        now = self._clock.now()
        times: dict[Place, list[float]] = {}
        for entry in await self._store.validated.misbehaviour(now - COUNTED_S - DAY_S):
            times.setdefault((entry.miner_hotkey, entry.node_id), []).append(entry.at)
        found = {place: banned_until(entries, now) for place, entries in times.items()}
        return {place: until for place, until in found.items() if until is not None}

    async def record(self, check: Check) -> Verification:
        """Store what a check found and did; the row as it was kept. Raises StoreUnusable."""
        row = await self._writer.record(check)
        if check.misbehaviour:
            await self._tell_misbehaviour(check, row)
        return row

    async def flush(self) -> None:
        """Wait for what is being written."""
        await self._writer.flush()

    async def _tell_misbehaviour(self, check: Check, row: Verification) -> None:
        now = self._clock.now()
        entries = await self._store.validated.misbehaviour(now - COUNTED_S - DAY_S, check.place)
        self._emit(
            NodeMisbehaved(
                at=now,
                miner_hotkey=row.miner_hotkey,
                node_id=row.node_id,
                reason=check.misbehaviour,
                details=row.message or "a step says so",
                banned_until=banned_until([entry.at for entry in entries], now),
            )
        )


def twice_failed(checks: Sequence[LatestCheck], since: float) -> frozenset[Place]:
    """Nodes whose two newest checks both failed, neither of them before ``since``."""
    return frozenset(
        (check.miner_hotkey, check.node_id)
        for check in checks
        if not check.ok and check.failed_before_at is not None and check.failed_before_at >= since
    )


def _offered(nodes: Sequence[ValidatedNode]) -> dict[str, list[OfferedNode]]:
    """The nodes of each miner as they were offered last, by the miner's hotkey."""
    found: dict[str, list[OfferedNode]] = {}
    for node in nodes:
        user, _, address = node.endpoint.rpartition("@")
        host, _, port = address.rpartition(":")
        if user and host and port.isdigit():
            found.setdefault(node.miner_hotkey, []).append(OfferedNode(node.node_id, host, int(port), user))
    return found
