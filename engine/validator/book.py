"""What a check does to the validator's records: the node's row, its GPUs, its run, its misbehaviour."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from engine.clock import Clock
from engine.errors import BasilicaError, GpuClaimed
from engine.events import EventSink, NodeMisbehaved
from engine.scores.history import Tier
from engine.store import Store
from engine.store.records import GpuClaim, Misbehaviour, ValidatedNode
from engine.validator.bans import COUNTED_S, banned_until
from engine.validator.miner_client import OfferedNode
from engine.validator.ownership import settle_claims
from engine.validator.schedule import LIVE, UNKNOWN, History
from engine.validator.targets import MinerTarget

DAY_S = 86400.0
Place = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Outcome:
    """A check's result as the records need it. ``claims`` are the GPUs that the node showed."""

    tier: Tier
    ok: bool
    at: float
    claims: tuple[GpuClaim, ...] = ()
    cuda: str = ""
    compute_capability: str = ""
    facts: Mapping[str, object] | None = None


def after_failure(node: ValidatedNode, outcome: Outcome, *, failed_full_resets: bool) -> ValidatedNode:
    """A known node failed: offline, without GPUs, its run over."""
    is_full = outcome.tier == "full"
    return replace(
        node,
        status="offline",
        gpu_count=0,
        last_check_at=outcome.at,
        last_full_at=outcome.at if is_full else node.last_full_at,
        last_full_ok=False if is_full else node.last_full_ok,
        offline_since=node.offline_since if node.status not in LIVE else outcome.at,
        run_since=None,
        full_run_since=None if is_full and failed_full_resets else node.full_run_since,
        last_reset_at=node.last_reset_at if node.run_since is None else outcome.at,
    )


def after_success(node: ValidatedNode, outcome: Outcome, claims: Sequence[GpuClaim]) -> ValidatedNode:
    """A known node passed. Only a full verification brings it online, names its GPUs and dates the six hours anew."""
    node = replace(
        node,
        last_check_at=outcome.at,
        last_ok_at=outcome.at,
        run_since=outcome.at if node.run_since is None else node.run_since,
        status=node.status if node.status in LIVE else "verified",
        offline_since=None,
    )
    if outcome.tier != "full":
        return node
    first = claims[0] if claims else None
    return replace(
        node,
        status="online",
        last_full_at=outcome.at,
        last_full_ok=True,
        full_ok_at=outcome.at,
        full_run_since=outcome.at if node.full_run_since is None else node.full_run_since,
        gpu_model=first.model if first else "",
        gpu_count=len(claims),
        memory_mib=first.memory_mib if first else None,
        compute_capability=outcome.compute_capability,
        cuda=outcome.cuda,
        facts=json.dumps(outcome.facts or {}, separators=(",", ":")),
    )


class Book:
    """Writes outcomes into the store. One at a time: two nodes that show the same GPU must not both get it."""

    def __init__(self, store: Store, clock: Clock, emit: EventSink, *, failed_full_resets: bool) -> None:
        self._store = store
        self._clock = clock
        self._emit = emit
        self._failed_full_resets = failed_full_resets
        self._writing = asyncio.Lock()

    async def histories(self) -> dict[Place, History]:
        """What decides over each known node's next verification."""
        counts: dict[Place, int] = {}
        for claim in await self._store.validated.claims():
            place = claim.miner_hotkey, claim.node_id
            counts[place] = counts.get(place, 0) + 1
        return {
            (node.miner_hotkey, node.node_id): History(
                node.status, node.full_ok_at, counts.get((node.miner_hotkey, node.node_id), 0)
            )
            for node in await self._store.validated.nodes()
        }

    async def known_nodes(self) -> dict[str, list[OfferedNode]]:
        """The nodes of each miner as they were offered last, by the miner's hotkey."""
        found: dict[str, list[OfferedNode]] = {}
        for node in await self._store.validated.nodes():
            user, _, address = node.endpoint.rpartition("@")
            host, _, port = address.rpartition(":")
            if user and host and port.isdigit():
                found.setdefault(node.miner_hotkey, []).append(OfferedNode(node.node_id, host, int(port), user))
        return found

    async def bans(self) -> dict[Place, float]:
        """The banned nodes, and until when."""
        now = self._clock.now()
        times: dict[Place, list[float]] = {}
        for entry in await self._store.validated.misbehaviour(now - COUNTED_S - DAY_S):
            times.setdefault((entry.miner_hotkey, entry.node_id), []).append(entry.at)
        found = {place: banned_until(entries, now) for place, entries in times.items()}
        return {place: until for place, until in found.items() if until is not None}

    async def record(self, miner: MinerTarget, node: OfferedNode, outcome: Outcome) -> BasilicaError | None:
        """Store what a check did to the node. An error: the check passed, but its GPUs are another node's."""
        place = miner.hotkey, node.node_id
        async with self._writing:
            known = await self._store.validated.node(place)
            if known is not None:
                known = replace(known, miner_uid=miner.uid, endpoint=_endpoint(node))
            if not outcome.ok:
                if known is not None:
                    failed = after_failure(known, outcome, failed_full_resets=self._failed_full_resets)
                    await self._store.validated.put(failed, claims=())
                return None
            if outcome.tier != "full":
                await self._renew(known, outcome)
                return None
            return await self._enter(place, known or await self._new(miner, node, outcome), outcome)

    async def _renew(self, known: ValidatedNode | None, outcome: Outcome) -> None:
        if known is None:
            return
        await self._store.validated.renew(after_success(known, outcome, ()), outcome.at)

    async def _enter(self, place: Place, node: ValidatedNode, outcome: Outcome) -> BasilicaError | None:
        validated = self._store.validated
        held = await validated.claims_of([claim.gpu_uuid for claim in outcome.claims], place)
        status = {}
        for claim in held:
            owner = claim.miner_hotkey, claim.node_id
            if owner not in status:
                found = await validated.node(owner)
                status[owner] = None if found is None else found.status
        ownership = settle_claims(outcome.claims, held, status)
        if ownership.is_all_duplicate:
            uuid, owner = ownership.rejected[0]
            error = GpuClaimed(
                f"GPU {uuid} counts for node {owner[1]} of miner {owner[0]}",
                hint="a GPU counts for one node; it changes hands when the other node is offline",
            )
            if await validated.node(place) is not None:
                failed = replace(outcome, ok=False)
                await validated.put(after_failure(node, failed, failed_full_resets=self._failed_full_resets), claims=())
            return error
        await validated.put(after_success(node, outcome, ownership.accepted), claims=ownership.accepted)
        return None

    async def _new(self, miner: MinerTarget, node: OfferedNode, outcome: Outcome) -> ValidatedNode:
        # The deployed query counts every passed full verification of the UTC day on which the row is made.
        day = outcome.at - outcome.at % DAY_S
        first = await self._store.validated.first_full_ok((miner.hotkey, node.node_id), day)
        return ValidatedNode(
            miner_hotkey=miner.hotkey,
            node_id=node.node_id,
            miner_uid=miner.uid,
            endpoint=_endpoint(node),
            status="unknown",
            created_at=outcome.at,
            last_check_at=outcome.at,
            full_run_since=first,
        )

    async def misbehaved(self, place: Place, reason: str, details: str) -> None:
        """Put misbehaviour on record and say whether it adds up to a ban."""
        now = self._clock.now()
        await self._store.validated.add_misbehaviour(Misbehaviour(*place, now, reason, details))
        entries = await self._store.validated.misbehaviour(now - COUNTED_S - DAY_S, place)
        self._emit(
            NodeMisbehaved(
                at=now,
                miner_hotkey=place[0],
                node_id=place[1],
                reason=reason,
                details=details,
                banned_until=banned_until([entry.at for entry in entries], now),
            )
        )


def history_of(histories: Mapping[Place, History], place: Place) -> History:
    """A node's history, that of a stranger when there is none."""
    return histories.get(place, UNKNOWN)


def _endpoint(node: OfferedNode) -> str:
    return f"{node.username}@{node.host}:{node.port}"
