"""What the fleet remembers of its nodes, and the events that follow from what it learns. No waiting, no I/O."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field

from engine.clock import Clock
from engine.errors import BasilicaError, ProbeFailed
from engine.events import (
    DuplicateGpuGone,
    DuplicateGpuSeen,
    EventSink,
    NodeDrifted,
    NodeInspected,
    NodeWarned,
    RampEstimated,
    RampReset,
)
from engine.miner.fleet_drift import GpuOwners, KnownGood, compare
from engine.miner.fleet_schedule import HOST_EVERY_CHECKS
from engine.miner.fleet_warnings import NAMED_SHARERS, gpu_doubts, node_warnings
from engine.miner.fleet_window import Latency, SuccessWindow
from engine.miner.node_state import Health
from engine.miner.ramp import (
    Estimate,
    FailureCost,
    NodeRamp,
    NodeShare,
    RampRules,
    Window,
    after_check,
    after_visit,
    cost_of_failure,
    effective_by_category,
    estimate,
    maintenance_windows,
    ramp_from_json,
    ramp_to_json,
)
from engine.probes.gpu import FIRST_QUERY, Gpu, GpuFacts, Query
from engine.probes.host import HostFacts
from engine.scores.categories import documented_category
from engine.scores.documented_score import documented_score
from engine.scores.history import Rate

SAY_RAMP_EVERY_S = 600.0


@dataclass(slots=True)
class NodeMemory:
    """One node. What is not in ``to_json`` is learnt anew after a restart."""

    window: SuccessWindow
    declared_gpus: int | None = None
    label: str = ""
    health: Health = field(default_factory=Health)
    latency: Latency = field(default_factory=Latency)
    good: KnownGood = field(default_factory=KnownGood)
    ramp: NodeRamp = field(default_factory=NodeRamp)
    query: Query = FIRST_QUERY
    gpus: GpuFacts | None = None
    host: HostFacts | None = None
    host_trouble: str = ""
    host_asked_at: float | None = None
    checks_since_host: int = 0
    warnings: tuple[str, ...] = ()
    said: tuple[object, ...] = ()
    said_at: float | None = None
    is_dirty: bool = False

    def to_json(self) -> dict[str, object]:
        """For the store."""
        return {
            "window_s": self.window.window_s,
            "window": self.window.to_json(),
            "good": self.good.to_json(),
            "ramp": ramp_to_json(self.ramp),
        }

    def restore(self, document: Mapping[str, object]) -> None:
        """Take over what ``to_json`` wrote in an earlier run."""
        stored_window_s = document.get("window_s")
        self.window = SuccessWindow.from_json(
            self.window.window_s,
            document.get("window"),
            stored_window_s=stored_window_s if isinstance(stored_window_s, int | float) else None,
        )
        self.good = KnownGood.from_json(document.get("good"))
        self.ramp = ramp_from_json(document.get("ramp"))


@dataclass(slots=True)
class _Visits:
    """Discoveries under way, by validator: the nodes that wait for its key, and why some will not get it."""

    waiting: dict[str, dict[str, str]] = field(default_factory=dict)
    in_place: dict[str, set[str]] = field(default_factory=dict)


class FleetBook:
    """The memories of all nodes. Emits drift, duplicates, warnings and ramps."""

    def __init__(self, *, clock: Clock, emit: EventSink, success_window_s: float, rules: RampRules) -> None:
        self.rules = rules
        self._clock = clock
        self._emit = emit
        self._success_window_s = success_window_s
        self._nodes: dict[str, NodeMemory] = {}
        self._stored: dict[str, Mapping[str, object]] = {}
        self._owners = GpuOwners()
        self._visits = _Visits()
        self.is_urgent = False
        """Whether something changed that a crash must not undo."""

    def __getitem__(self, node_id: str) -> NodeMemory:
        return self._nodes[node_id]

    def get(self, node_id: str) -> NodeMemory | None:
        """One node's memory; None when the fleet does not have the node (any more)."""
        return self._nodes.get(node_id)

    def add(self, node_id: str, declared_gpus: int | None, label: str = "") -> None:
        """Remember a node from now on, by ``label`` in sentences; what is known of it stays as it is."""
        memory = self._nodes.get(node_id)
        if memory is None:
            memory = self._nodes[node_id] = NodeMemory(SuccessWindow(self._success_window_s))
            memory.restore(self._stored.get(node_id, {}))
        memory.declared_gpus, memory.label = declared_gpus, label

    def restore(self, documents: Mapping[str, Mapping[str, object]]) -> None:
        """Take over what an earlier run stored; also for nodes that come back later."""
        self._stored = dict(documents)
        for node_id, memory in self._nodes.items():
            memory.restore(self._stored.get(node_id, {}))

    def move(self, node_id: str) -> None:
        """The node has another address now: its ramp goes on, as validators know it by its id; nothing else does."""
        memory = self._nodes[node_id]
        fresh = NodeMemory(memory.window, memory.declared_gpus, memory.label, ramp=memory.ramp, is_dirty=True)
        self._nodes[node_id] = fresh
        self._see_owners(node_id, ())

    def remove(self, node_id: str) -> None:
        """Forget a node that left the configuration; the store keeps its ramp in case it comes back."""
        memory = self._nodes.pop(node_id, None)
        if memory is not None:
            self._stored[node_id] = memory.to_json()
        self._see_owners(node_id, ())

    # --- checks -----------------------------------------------------------------------------------------------

    def learn_gpus(self, node_id: str, facts: GpuFacts) -> bool:
        """Take in the GPUs of a passed check; returns whether what depends on the driver should be asked anew."""
        memory = self._nodes[node_id]
        known = memory.good
        is_new_driver = bool(known.driver) and facts.driver not in {"", known.driver}
        memory.gpus = facts
        self._compare(node_id, memory, facts, facts.cuda)
        self._see_owners(node_id, facts.uuids)
        self._warn(node_id, memory)
        return is_new_driver

    def learn_host(self, node_id: str, host: HostFacts | None, trouble: str = "") -> None:
        """Take in an inspection, or why there is none."""
        memory = self._nodes[node_id]
        is_first = memory.host_asked_at is None
        memory.host_asked_at = self._clock.monotonic()
        # Nodes that started together would otherwise all be inspected in the same round for ever.
        memory.checks_since_host = random.randrange(HOST_EVERY_CHECKS) if is_first else 0  # noqa: S311 - spreads work
        memory.host_trouble = trouble
        if host is not None:
            memory.host = host
            self._emit(_inspected(node_id, host, memory.gpus, self._clock.now()))
            if memory.gpus is not None:
                self._compare(node_id, memory, memory.gpus, host.cuda)
        self._warn(node_id, memory)

    def learn_outcome(self, node_id: str, error: BasilicaError | None, latency_ms: float) -> None:
        """Count a check for the success rate, the latency and the ramp."""
        memory, now = self._nodes[node_id], self._clock.now()
        is_reached = error is None or isinstance(error, ProbeFailed)
        memory.window = memory.window.plus(now, passed=is_reached)
        memory.checks_since_host += 1
        memory.is_dirty = True
        if error is None:
            memory.latency = memory.latency.plus(latency_ms)
        cause = "" if error is None else error.message
        self._set_ramp(
            node_id,
            memory,
            after_check(memory.ramp, now, ok=error is None, cause=cause, is_reachable=is_reached, rules=self.rules),
        )

    # --- visits -----------------------------------------------------------------------------------------------

    def visit_begins(self, node_id: str, hotkey: str) -> None:
        """A grant was written: the validator's key is on its way to the node."""
        self._visits.waiting.setdefault(hotkey, {})[node_id] = ""

    def key_in_place(self, node_id: str, hotkey: str) -> None:
        """The validator's key was read back from the node."""
        self._visits.in_place.setdefault(node_id, set()).add(hotkey)
        if self._visits.waiting.get(hotkey, {}).pop(node_id, None) is not None:
            self._visit(node_id, hotkey, is_open=True)

    def key_gone(self, node_id: str, hotkey: str) -> None:
        """The validator's key is not on the node any more."""
        self._visits.in_place.get(node_id, set()).discard(hotkey)

    def key_failed(self, node_id: str, cause: str) -> None:
        """The node's key file could not be brought up to date."""
        for waiting in self._visits.waiting.values():
            if node_id in waiting:
                waiting[node_id] = cause

    def visit_ends(self, hotkey: str) -> None:
        """The validator got its answer: nodes that still wait were not opened, or had nothing to change."""
        for node_id, cause in self._visits.waiting.pop(hotkey, {}).items():
            is_open = not cause and hotkey in self._visits.in_place.get(node_id, set())
            self._visit(node_id, hotkey, is_open=is_open, cause=cause or "its key was not in place in time")

    def _visit(self, node_id: str, hotkey: str, *, is_open: bool, cause: str = "") -> None:
        memory = self._nodes.get(node_id)
        if memory is not None:
            memory.is_dirty = True
            now = self._clock.now()
            ramp = after_visit(memory.ramp, hotkey, now, is_open=is_open, cause=cause, rules=self.rules)
            self._set_ramp(node_id, memory, ramp)

    # --- reports ----------------------------------------------------------------------------------------------

    def report(self) -> None:
        """Say every ramp that changed, and each one now and then, because it grows."""
        now, at = self._clock.now(), self._clock.monotonic()
        fleet = {node_id: self._share(node_id, memory, now) for node_id, memory in self._nodes.items()}
        effective = effective_by_category(share for _, share in fleet.values())
        for node_id, (found, share) in fleet.items():
            memory = self._nodes[node_id]
            said = (found.hotkey, found.ramp.since, found.is_watched, found.last_full_ok, memory.ramp.resets_total)
            if said != memory.said or memory.said_at is None or at - memory.said_at >= SAY_RAMP_EVERY_S:
                memory.said, memory.said_at = said, at
                cost = cost_of_failure(share, effective, now)
                self._emit(self._ramp_event(node_id, memory, found, cost, now))

    def what_if(self, node_id: str) -> tuple[Estimate, FailureCost, tuple[Window, ...]]:
        """What a failure of the node would cost now, and when work on it would cost least."""
        now = self._clock.now()
        fleet = {other: self._share(other, memory, now) for other, memory in self._nodes.items()}
        found, share = fleet[node_id]
        cost = cost_of_failure(share, effective_by_category(other for _, other in fleet.values()), now)
        return found, cost, maintenance_windows(found, now, self.rules)

    def take_dirty(self) -> dict[str, dict[str, object]]:
        """Documents of the nodes that changed since the last call."""
        dirty = {node_id: memory for node_id, memory in self._nodes.items() if memory.is_dirty}
        for memory in dirty.values():
            memory.is_dirty = False
        self.is_urgent = False
        return {node_id: memory.to_json() for node_id, memory in dirty.items()}

    def put_back(self, ids: Iterable[str]) -> None:
        """These could not be stored."""
        for node_id in ids:
            if (memory := self._nodes.get(node_id)) is not None:
                memory.is_dirty = True

    def _compare(self, node_id: str, memory: NodeMemory, facts: GpuFacts, cuda: str) -> None:
        good, drifts = compare(memory.good, facts, cuda)
        if good != memory.good:
            memory.good, memory.is_dirty, self.is_urgent = good, True, True
        for drift in drifts:
            self._emit(
                NodeDrifted(
                    at=self._clock.now(), node_id=node_id, what=drift.what, before=drift.before, after=drift.after
                )
            )

    def _see_owners(self, node_id: str, uuids: tuple[str, ...]) -> None:
        changed = self._owners.see(node_id, uuids)
        concerned: set[str] = set()
        for uuid in sorted(changed):
            nodes = self._owners.nodes(uuid)
            # The warning of those that shared it before names some of the others; it need not name each.
            concerned.update(nodes if len(nodes) <= NAMED_SHARERS else ())
            if len(nodes) > 1:
                self._emit(DuplicateGpuSeen(at=self._clock.now(), gpu_uuid=uuid, node_ids=nodes))
            else:
                self._emit(DuplicateGpuGone(at=self._clock.now(), gpu_uuid=uuid))
        for other in sorted(concerned - {node_id}):
            self._warn(other, self._nodes[other])

    def _warn(self, node_id: str, memory: NodeMemory) -> None:
        shared = {
            uuid: tuple(self._nodes[other].label or other for other in others)
            for uuid, others in self._owners.shared(node_id).items()
        }
        warnings = node_warnings(
            memory.gpus,
            memory.host,
            cuda=memory.good.cuda,
            declared_gpus=memory.declared_gpus,
            shared=shared,
            host_trouble=memory.host_trouble,
        )
        if warnings != memory.warnings:
            memory.warnings = warnings
            doubts = gpu_doubts(memory.gpus, memory.host, shared)
            self._emit(NodeWarned(at=self._clock.now(), node_id=node_id, warnings=warnings, doubts=doubts))

    def _set_ramp(self, node_id: str, memory: NodeMemory, ramp: NodeRamp) -> None:
        if ramp.resets_total > memory.ramp.resets_total:
            reset = ramp.resets[-1]
            self._emit(RampReset(at=reset.at, node_id=node_id, cause=reset.cause, minutes_lost=reset.minutes_lost))
        self.is_urgent = self.is_urgent or _starts(ramp) != _starts(memory.ramp)
        memory.ramp = ramp

    def _share(self, node_id: str, memory: NodeMemory, now: float) -> tuple[Estimate, NodeShare]:
        found = estimate(memory.ramp, now, self.rules)
        category = documented_category(memory.good.model)
        return found, NodeShare(node_id, category, memory.good.count or 0, found.ramp)

    def _ramp_event(
        self, node_id: str, memory: NodeMemory, found: Estimate, cost: FailureCost, now: float
    ) -> RampEstimated:
        tries, good = memory.window.counts(now)
        return RampEstimated(
            at=now,
            node_id=node_id,
            validator_hotkey=found.hotkey,
            minutes=found.ramp.minutes,
            percent=round(100.0 * found.ramp.multiplier, 2),
            since=found.ramp.since,
            full_at=found.ramp.full_at,
            next_full_at=found.next_full_at,
            quiet_until=found.quiet_until,
            estimated_score=round(documented_score(Rate(good, tries), found.last_full_ok), 4) if found.hotkey else None,
            resets=tuple(f"{reset.at:.0f} {reset.minutes_lost} {reset.cause}" for reset in memory.ramp.resets),
            resets_total=memory.ramp.resets_total,
            failure_cost_gpus=round(cost.effective_gpus, 4),
            failure_cost_percent=round(100.0 * cost.share, 2),
        )


def _starts(ramp: NodeRamp) -> tuple[tuple[str, float | None], ...]:
    return tuple((run.hotkey, run.since) for run in ramp.runs)


def _inspected(node_id: str, host: HostFacts, gpus: GpuFacts | None, at: float) -> NodeInspected:
    sshd = host.sshd
    return NodeInspected(
        at=at,
        node_id=node_id,
        cuda=host.cuda,
        docker_ok=host.docker_ok,
        docker_version=host.docker_version,
        docker_error=host.docker_error,
        nvidia_runtime_ok=host.nvidia_runtime_ok,
        disk_path=host.disk_path,
        disk_free_bytes=host.disk_free_bytes,
        disk_total_bytes=host.disk_total_bytes,
        clock_skew_s=host.clock_skew_s,
        sshd_password_login=sshd.password_login,
        sshd_keyboard_login=sshd.keyboard_login,
        sshd_root_login=sshd.root_login,
        sshd_max_startups=sshd.max_startups,
        sshd_max_sessions=sshd.max_sessions,
        sshd_tcp_forwarding=sshd.tcp_forwarding,
        gpus=() if gpus is None else tuple(_gpu_text(gpu) for gpu in gpus.gpus),
    )


def _gpu_text(gpu: Gpu) -> str:
    values = {name: value for name, value in asdict(gpu).items() if value not in {None, ""} and name != "driver"}
    return json.dumps(values, separators=(",", ":"))
