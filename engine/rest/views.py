"""From the store and the live state to bodies."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from engine.clock import Clock
from engine.control.models import MinerView
from engine.control.state import LiveState
from engine.rest import bodies
from engine.rest.bodies import stamp
from engine.scores.categories import deployed_category, documented_category
from engine.scores.history import PASS_WINDOW_S
from engine.scores.ramp import ramp_since
from engine.store import Store
from engine.store.records import CheckCounts, GpuClaim, ValidatedNode, Verification
from engine.validator.miner_facts import build_facts
from engine.validator.schedule import LIVE
from engine.validator.scoring import Emission, MinerScore, Profile, RoundContext, score_miner

CACHE_S = 5.0
SEEN_S = 600.0
HEALTHY_S = 300.0
Place = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the store held at one moment."""

    at: float
    nodes: Sequence[ValidatedNode]
    claims: dict[Place, list[GpuClaim]]
    hours: dict[Place, CheckCounts]
    scores: dict[int, MinerScore]

    def of_miner(self, hotkey: str) -> list[ValidatedNode]:
        """One miner's nodes."""
        return [node for node in self.nodes if node.miner_hotkey == hotkey]


class Views:
    """Makes bodies. The store is read at most every few seconds, however many ask."""

    def __init__(self, store: Store, state: LiveState, clock: Clock, profile: Profile, emission: Emission) -> None:
        self._store = store
        self._state = state
        self._clock = clock
        self._profile = profile
        self._emission = emission
        self._snapshot: Snapshot | None = None
        self._made_at = 0.0

    async def snapshot(self) -> Snapshot:
        """The store's content, a few seconds old at most."""
        now = self._clock.monotonic()
        if self._snapshot is None or now - self._made_at > CACHE_S:
            self._snapshot, self._made_at = await self._read(), now
        return self._snapshot

    async def _read(self) -> Snapshot:
        validated, now = self._store.validated, self._clock.now()
        nodes = await validated.nodes()
        claims: dict[Place, list[GpuClaim]] = {}
        for claim in await validated.claims():
            claims.setdefault((claim.miner_hotkey, claim.node_id), []).append(claim)
        hours, day = await validated.counts(now - PASS_WINDOW_S), await validated.counts(now - 86400.0)
        context = RoundContext(now=now)
        scores = {}
        # Whether the axon answers does not enter a miner's own score.
        registered = {view.hotkey: (view.uid, True) for view in self._state.miners.values() if view.uid is not None}
        for facts in build_facts(nodes, claims, day, hours, registered, self._profile, now):
            scores[facts.uid] = score_miner(self._profile, facts, self._emission, context)
        return Snapshot(now, nodes, claims, hours, scores)

    def miner(self, view: MinerView, snapshot: Snapshot) -> bodies.Miner:
        """One miner."""
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
            total_gpu_count=sum(len(snapshot.claims.get((view.hotkey, node.node_id), ())) for node in nodes),
            verification_score=round(score.score if score else 0.0, 6),
            uptime_percentage=round(uptime, 2),
            last_seen=stamp(view.last_answer_at),
            registered_at=stamp(min((node.created_at for node in nodes), default=None)),
        )

    def node(self, node: ValidatedNode, snapshot: Snapshot) -> bodies.Node:
        """One node."""
        facts = _facts(node)
        since = node.run_since if self._profile == "documented" else node.full_run_since
        ramp = ramp_since(since, snapshot.at)
        memory = facts.get("memory", {}).get("MemTotal", 0)
        cpu = facts.get("cpu", {})
        return bodies.Node(
            id=node.node_id,
            miner_id=f"miner_{node.miner_uid}",
            status=node.status,
            gpu_specs=[
                bodies.GpuSpec(
                    name=claim.model,
                    memory_gb=round(claim.memory_mib / 1024),
                    compute_capability=node.compute_capability,
                    uuid=claim.gpu_uuid,
                )
                for claim in snapshot.claims.get((node.miner_hotkey, node.node_id), ())
            ],
            cpu_specs=bodies.CpuSpec(
                cores=_whole(cpu.get("threads")), model=str(cpu.get("model", ""))[:96], memory_gb=_whole(memory) >> 30
            ),
            ramp_minutes=ramp.minutes,
            ramp_multiplier=round(ramp.multiplier, 6),
            last_full_validation=stamp(node.full_ok_at),
            last_check=stamp(node.last_check_at),
        )

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
        name = documented_category if self._profile == "documented" else deployed_category
        counts: dict[str, int] = {}
        checks = 0
        nodes = snapshot.of_miner(view.hotkey)
        for node in nodes:
            place = view.hotkey, node.node_id
            checks += snapshot.hours.get(place, CheckCounts()).total
            for claim in snapshot.claims.get(place, ()):
                category = name(claim.model)
                counts[category] = counts.get(category, 0) + 1
        score = snapshot.scores.get(view.uid) if view.uid is not None else None
        return bodies.GpuProfile(
            miner_uid=view.uid or 0,
            gpu_counts=counts,
            total_score=round(score.score if score else 0.0, 6),
            verification_count=checks,
            last_updated=stamp(snapshot.at) or "",
            last_successful_validation=stamp(max((n.last_ok_at for n in nodes if n.last_ok_at), default=None)),
        )

    async def log(self, row: Verification, *, with_steps: bool) -> bodies.VerificationLog:
        """One stored verification."""
        steps = await self._store.validated.steps(row.id) if with_steps else []
        return bodies.VerificationLog(
            id=row.id,
            node_id=row.node_id,
            miner_hotkey=row.miner_hotkey,
            validator_hotkey=self._state.engine.hotkey,
            verification_type=row.tier,
            timestamp=stamp(row.at) or "",
            success=row.ok,
            duration_ms=row.duration_ms,
            error_message=row.message or None,
            steps=[
                bodies.Step(step=s.step, verdict=s.verdict, evidence=s.evidence, duration_ms=s.duration_ms)
                for s in steps
            ],
        )


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
