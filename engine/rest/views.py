"""From the store and the live state to bodies."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from engine.clock import Clock
from engine.config.validator import ValidatorConfig
from engine.control.models import MinerView
from engine.control.state import LiveState
from engine.rest import bodies
from engine.rest.bodies import stamp
from engine.scores.categories import deployed_category, documented_category
from engine.scores.history import PASS_WINDOW_S
from engine.scores.ramp import Ramp, ramp_since
from engine.store import Store
from engine.store.records import CheckCounts, GpuClaim, ValidatedNode, Verification
from engine.validator.miner_facts import build_facts, emission_of
from engine.validator.schedule import LIVE
from engine.validator.score_notes import scores_of_nodes
from engine.validator.scoring import Emission, MinerScore, Profile, RoundContext, score_miner

CACHE_S = 5.0
DAY_CACHE_S = 60.0
"""Counting a day's checks reads two orders of magnitude more rows than everything else here."""
PATIENCE_S = 30.0
SEEN_S = 600.0
HEALTHY_S = 300.0
CHUNK = 4
"""Miners per turn of the loop."""
PAUSE_S = 0.004
"""Between two turns of a reading that nobody waits for: a request that comes meets one turn of it, not all of them."""
NODES_PER_TURN = 64
Place = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the store held at one moment, and the bodies made of it."""

    at: float
    nodes: Sequence[ValidatedNode]
    by_miner: Mapping[str, Sequence[ValidatedNode]]
    claims: Mapping[Place, Sequence[GpuClaim]]
    hours: Mapping[Place, CheckCounts]
    scores: Mapping[int, MinerScore]
    rented: frozenset[Place] = frozenset()
    node_bodies: dict[Place, bodies.Node] = field(default_factory=dict)
    miner_bodies: dict[str, bodies.Miner] = field(default_factory=dict)
    gpu_profiles: dict[str, bodies.GpuProfile] = field(default_factory=dict)

    def of_miner(self, hotkey: str) -> Sequence[ValidatedNode]:
        """One miner's nodes."""
        return self.by_miner.get(hotkey, ())

    def gpus_of(self, node: ValidatedNode) -> Sequence[GpuClaim]:
        """The GPUs that count for a node."""
        return self.claims.get((node.miner_hotkey, node.node_id), ())

    def is_rented(self, node: ValidatedNode) -> bool:
        """Whether somebody has it."""
        return (node.miner_hotkey, node.node_id) in self.rented


class Views:
    """Makes bodies. The store is read at most every few seconds, by one reader, however many ask."""

    def __init__(
        self, store: Store, state: LiveState, clock: Clock, profile: Profile, emission: Emission, *, ahead: bool = False
    ) -> None:
        """``ahead``: bodies of lists are made with the snapshot, so that no request has to."""
        self._store = store
        self._state = state
        self._clock = clock
        self._profile = profile
        self._emission = emission
        self._is_ahead = ahead
        self._snapshot: Snapshot | None = None
        self._made_at = 0.0
        self._reading: asyncio.Task[Snapshot] | None = None
        self.is_failing = False
        """Whether the last reading failed; an older answer may still be told."""
        self._day: dict[Place, CheckCounts] = {}
        self._day_at: float | None = None

    async def snapshot(self) -> Snapshot:
        """The store's content, a few seconds old. Raises StoreUnusable.

        A reading that takes long is waited for only when what there is has become too old to tell.
        """
        age = self._clock.monotonic() - self._made_at
        if self._snapshot is not None and age <= CACHE_S:
            return self._snapshot
        if self._reading is None:
            self._reading = asyncio.create_task(self._read(), name="rest:snapshot")
            self._reading.add_done_callback(self._done)
        if self._snapshot is not None and age <= PATIENCE_S:
            return self._snapshot
        return await asyncio.shield(self._reading)

    def forget(self) -> None:
        """Something was changed: who asks next gets what holds from now on."""
        self._snapshot = self._reading = None

    def _done(self, reading: asyncio.Task[Snapshot]) -> None:
        if reading is not self._reading:
            return  # begun before a change
        self._reading = None
        self.is_failing = not reading.cancelled() and reading.exception() is not None
        if not reading.cancelled() and not self.is_failing:
            self._snapshot, self._made_at = reading.result(), self._clock.monotonic()

    async def _read(self) -> Snapshot:
        validated, now = self._store.validated, self._clock.now()
        nodes = await validated.nodes()
        by_miner: dict[str, list[ValidatedNode]] = {}
        for node in nodes:
            by_miner.setdefault(node.miner_hotkey, []).append(node)
        claims: dict[Place, list[GpuClaim]] = {}
        for claim in await validated.claims():
            claims.setdefault((claim.miner_hotkey, claim.node_id), []).append(claim)
        hours = await self._store.verifications.counts(now - PASS_WINDOW_S)
        if self._day_at is None or now - self._day_at >= DAY_CACHE_S or now < self._day_at:
            self._day, self._day_at = await self._store.verifications.counts(now - 86400.0), now
        rented, _ = await self._store.rentals.standing()
        context, scores = RoundContext(now=now), {}
        # Whether the axon answers does not enter a miner's own score.
        registered = {view.hotkey: (view.uid, True) for view in self._state.miners.values() if view.uid is not None}
        hotkeys = list(by_miner)
        for start in range(0, len(hotkeys), CHUNK):
            await self._give_way()
            owned = [node for hotkey in hotkeys[start : start + CHUNK] for node in by_miner[hotkey]]
            for facts in build_facts(owned, claims, self._day, hours, registered, self._profile, now):
                scores[facts.uid] = score_miner(self._profile, facts, self._emission, context)
        snapshot = Snapshot(now, nodes, by_miner, claims, hours, scores, rented)
        if self._is_ahead:
            await self._make_ahead(snapshot)
        return snapshot

    async def _make_ahead(self, snapshot: Snapshot) -> None:
        views = list(self._state.miners.values())
        for start in range(0, len(views), CHUNK):
            await self._give_way()
            for view in views[start : start + CHUNK]:
                self.miner(view, snapshot)
                if snapshot.of_miner(view.hotkey):
                    self.profile(view, snapshot)

    async def _give_way(self) -> None:
        """The loop has other work: a big subnet takes a tenth of a second. With an older one there is time."""
        await asyncio.sleep(0 if self._snapshot is None else PAUSE_S)

    async def scores_of_nodes(self) -> dict[Place, float]:
        """Each node's score now. Raises StoreUnusable."""
        snapshot = await self.snapshot()
        hotkeys = {view.uid: view.hotkey for view in self._state.miners.values() if view.uid is not None}
        return scores_of_nodes(snapshot.scores, hotkeys)

    def miner(self, view: MinerView, snapshot: Snapshot) -> bodies.Miner:
        """One miner, as it was when the snapshot was made, or first asked for it."""
        if view.hotkey not in snapshot.miner_bodies:
            snapshot.miner_bodies[view.hotkey] = self._miner(view, snapshot)
        return snapshot.miner_bodies[view.hotkey]

    def _miner(self, view: MinerView, snapshot: Snapshot) -> bodies.Miner:
        nodes = snapshot.of_miner(view.hotkey)
        counts = [snapshot.hours.get((view.hotkey, node.node_id), CheckCounts()) for node in nodes]
        total = sum(count.total for count in counts)
        uptime = 100.0 * sum(count.passed for count in counts) / total if total else 0.0
        score = snapshot.scores.get(view.uid) if view.uid is not None else None
        return bodies.Miner(
            miner_id=f"miner_{view.uid}",
            hotkey=view.hotkey,
            endpoint=view.endpoint,
            status=_status(view, score.score if score else 0.0, uptime, snapshot.at),
            node_count=len(nodes),
            total_gpu_count=sum(len(snapshot.gpus_of(node)) for node in nodes),
            verification_score=round(score.score if score else 0.0, 6),
            uptime_percentage=round(uptime, 2),
            last_seen=stamp(view.last_answer_at),
            registered_at=stamp(min((node.created_at for node in nodes), default=None)),
        )

    async def all_nodes(self, snapshot: Snapshot) -> Sequence[tuple[ValidatedNode, bodies.Node]]:
        """Every node, some at a time: two thousand take a tenth of a second, and the loop has other work."""
        found: list[tuple[ValidatedNode, bodies.Node]] = []
        for start in range(0, len(snapshot.nodes), NODES_PER_TURN):
            if start:
                await asyncio.sleep(0)
            found += [(row, self.node(row, snapshot)) for row in snapshot.nodes[start : start + NODES_PER_TURN]]
        return found

    def node(self, node: ValidatedNode, snapshot: Snapshot) -> bodies.Node:
        """One node."""
        place = node.miner_hotkey, node.node_id
        if place not in snapshot.node_bodies:
            snapshot.node_bodies[place] = self._node(node, snapshot)
        return snapshot.node_bodies[place]

    def _node(self, node: ValidatedNode, snapshot: Snapshot) -> bodies.Node:
        facts = _facts(node)
        ramp = self.ramp(node, snapshot)
        memory = facts.get("memory", {}).get("MemTotal", 0)
        cpu = facts.get("cpu", {})
        return bodies.Node(
            id=node.node_id,
            miner_id=f"miner_{node.miner_uid}",
            status=node.status,
            gpu_specs=[
                bodies.GpuSpec(
                    name=claim.model,
                    memory_gb=memory_gb(claim),
                    compute_capability=node.compute_capability,
                    uuid=claim.gpu_uuid,
                )
                for claim in snapshot.gpus_of(node)
            ],
            cpu_specs=bodies.CpuSpec(
                cores=_whole(cpu.get("threads")), model=str(cpu.get("model", ""))[:96], memory_gb=_whole(memory) >> 30
            ),
            ramp_minutes=ramp.minutes,
            ramp_multiplier=round(ramp.multiplier, 6),
            last_full_validation=stamp(node.full_ok_at),
            last_check=stamp(node.last_check_at),
            rented=snapshot.is_rented(node),
        )

    def ramp(self, node: ValidatedNode, snapshot: Snapshot) -> Ramp:
        """How far a node is on its ramp."""
        since = node.run_since if self._profile == "documented" else node.full_run_since
        return ramp_since(since, snapshot.at)

    def health(self, view: MinerView, snapshot: Snapshot) -> bodies.MinerHealth:
        """One miner's health, by the statuses that nodes really have."""
        nodes = snapshot.of_miner(view.hotkey)
        last = max((node.last_check_at for node in nodes), default=None)
        busy = any(
            item.phase == "running" and item.miner_hotkey == view.hotkey for item in self._state.verifications.values()
        )
        if last is None or snapshot.at - last > HEALTHY_S:
            overall = "Offline"
        elif busy:
            overall = "Verifying"
        else:
            overall = "Active" if nodes and all(node.status in LIVE for node in nodes) else "Inactive"
        return bodies.MinerHealth(
            miner_id=f"miner_{view.uid}",
            overall_status=overall,
            last_health_check=stamp(last),
            node_health=[
                bodies.NodeHealth(node_id=n.node_id, status=n.status, last_health_check=stamp(n.last_check_at))
                for n in nodes
            ],
            response_time_ms=view.duration_ms,
        )

    def profile(self, view: MinerView, snapshot: Snapshot) -> bodies.GpuProfile:
        """One miner's GPUs by category."""
        if view.hotkey not in snapshot.gpu_profiles:
            snapshot.gpu_profiles[view.hotkey] = self._profile_of(view, snapshot)
        return snapshot.gpu_profiles[view.hotkey]

    def _profile_of(self, view: MinerView, snapshot: Snapshot) -> bodies.GpuProfile:
        counts: Counter[str] = Counter()
        checks = 0
        nodes = snapshot.of_miner(view.hotkey)
        for node in nodes:
            checks += snapshot.hours.get((view.hotkey, node.node_id), CheckCounts()).total
            counts += self.categories(node, snapshot)
        score = snapshot.scores.get(view.uid) if view.uid is not None else None
        return bodies.GpuProfile(
            miner_uid=view.uid or 0,
            gpu_counts=counts,
            total_score=round(score.score if score else 0.0, 6),
            verification_count=checks,
            last_updated=stamp(snapshot.at) or "",
            last_successful_validation=stamp(max((n.last_ok_at for n in nodes if n.last_ok_at), default=None)),
        )

    def categories(self, node: ValidatedNode, snapshot: Snapshot) -> Counter[str]:
        """A node's GPUs that count, by category."""
        name = documented_category if self._profile == "documented" else deployed_category
        return Counter(name(claim.model) for claim in snapshot.gpus_of(node))

    def logs(self, rows: Sequence[Verification]) -> list[bodies.VerificationLog]:
        """Stored verifications with their steps."""
        return [self._log(row) for row in rows]

    def _log(self, row: Verification) -> bodies.VerificationLog:
        at = stamp(row.at) or ""
        return bodies.VerificationLog(
            id=row.id,
            node_id=row.node_id,
            miner_hotkey=row.miner_hotkey,
            validator_hotkey=self._state.engine.hotkey,
            verification_type=row.tier,
            timestamp=at,
            success=row.ok,
            duration_ms=row.duration_ms,
            score=1.0 if row.ok else 0.0,
            error_message=row.message or None,
            details={
                "endpoint": row.endpoint,
                "gpu_model": row.gpu_model,
                "gpu_uuids": list(row.gpu_uuids),
                "error_code": row.error_code,
            },
            created_at=at,
            updated_at=at,
            steps=[
                bodies.Step(step=s.step, verdict=s.verdict, evidence=s.evidence, duration_ms=s.duration_ms)
                for s in row.steps
            ],
        )


def memory_gb(gpu: GpuClaim) -> int:
    """A GPU's memory as it is told."""
    return round(gpu.memory_mib / 1024)


def views_of(config: ValidatorConfig, store: Store, state: LiveState, clock: Clock, *, ahead: bool = False) -> Views:
    """The views of a validator with this configuration; ``ahead`` as there."""
    return Views(store, state, clock, config.scoring.profile, emission_of(config.emission), ahead=ahead)


def _status(view: MinerView, score: float, uptime: float, now: float) -> str:
    if view.last_answer_at is None or now - view.last_answer_at > SEEN_S:
        return "Offline"
    if score < 0.5:
        return "Suspended"
    return "Active" if uptime >= 80 else "Inactive"


def _facts(node: ValidatedNode) -> dict[str, Any]:
    value = json.loads(node.facts)
    return {key: inner for key, inner in value.items() if isinstance(inner, dict)} if isinstance(value, dict) else {}


def _whole(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 60 else 0
