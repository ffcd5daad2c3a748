"""Folding rules: what a node told about itself, drift, the ramp's estimate, and what validators publish."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine import events as ev
from engine.control.folds.common import ENGINE, node_of, on
from engine.control.models import NodeView, gpus_of

if TYPE_CHECKING:
    from engine.control.state import LiveState, Touched

MINUTES_PER_DAY = 1440


@on(ev.NodeInspected)
def _node_inspected(state: LiveState, event: ev.NodeInspected) -> Touched:
    view = node_of(state, event.node_id)
    if view is None:
        return set()
    view.inspected_at = event.at
    view.docker_ok, view.docker_version, view.docker_error = event.docker_ok, event.docker_version, event.docker_error
    view.nvidia_runtime_ok = event.nvidia_runtime_ok
    view.disk_path, view.disk_free_bytes = event.disk_path, event.disk_free_bytes
    view.disk_total_bytes = event.disk_total_bytes
    view.sshd_password_login, view.sshd_root_login = event.sshd_password_login, event.sshd_root_login
    view.sshd_max_startups, view.sshd_max_sessions = event.sshd_max_startups, event.sshd_max_sessions
    view.cuda = event.cuda or view.cuda
    view.gpus = event.gpus or view.gpus
    view.memory_percent = _memory_percent(view)
    view.clock_skew_s = view.clock_skew_s if event.clock_skew_s is None else event.clock_skew_s
    return {("nodes", event.node_id)}


def _memory_percent(view: NodeView) -> float | None:
    gpus = gpus_of(view)
    total = sum(gpu.memory_mib or 0 for gpu in gpus)
    return 100.0 * sum(gpu.memory_used_mib or 0 for gpu in gpus) / total if total else None


@on(ev.NodeWarned)
def _node_warned(state: LiveState, event: ev.NodeWarned) -> Touched:
    view = node_of(state, event.node_id)
    if view is None:
        return set()
    view.warnings, view.doubts = event.warnings, event.doubts
    return {("nodes", event.node_id)}


@on(ev.NodeDrifted)
def _node_drifted(state: LiveState, event: ev.NodeDrifted) -> Touched:
    view = node_of(state, event.node_id)
    if view is None:
        return set()
    view.last_drift, view.last_drift_at = f"{event.what}: {event.before} became {event.after}", event.at
    return {("nodes", event.node_id)}


@on(ev.DuplicateGpuSeen)
def _duplicate_gpu_seen(state: LiveState, event: ev.DuplicateGpuSeen) -> Touched:
    return _share(state, event.gpu_uuid, frozenset(event.node_ids))


@on(ev.DuplicateGpuGone)
def _duplicate_gpu_gone(state: LiveState, event: ev.DuplicateGpuGone) -> Touched:
    return _share(state, event.gpu_uuid, frozenset())


def _share(state: LiveState, uuid: str, sharers: frozenset[str]) -> Touched:
    touched: Touched = set()
    for node_id, view in state.nodes.items():
        if (uuid in view.shared_gpus) != (node_id in sharers):
            kept = {*view.shared_gpus, uuid} if node_id in sharers else set(view.shared_gpus) - {uuid}
            view.shared_gpus = tuple(sorted(kept))
            touched.add(("nodes", node_id))
    return touched


@on(ev.RampEstimated)
def _ramp_estimated(state: LiveState, event: ev.RampEstimated) -> Touched:
    view = node_of(state, event.node_id)
    if view is None:
        return set()
    view.ramp_validator, view.ramp_since = event.validator_hotkey, event.since
    is_known = bool(event.validator_hotkey)
    view.ramp_days = event.minutes / MINUTES_PER_DAY if is_known else None
    view.ramp_percent = event.percent if is_known else None
    view.ramp_resets, view.ramp_resets_total = event.resets, event.resets_total
    view.full_at, view.next_full_at, view.quiet_until = event.full_at, event.next_full_at, event.quiet_until
    view.estimated_score = event.estimated_score
    view.failure_cost_gpus, view.failure_cost_percent = event.failure_cost_gpus, event.failure_cost_percent
    return {("nodes", event.node_id)}


@on(ev.RampReset)
def _ramp_reset(state: LiveState, event: ev.RampReset) -> Touched:
    view = node_of(state, event.node_id)
    if view is None:
        return set()
    # The estimate with the complete list follows; a reset must not wait for it.
    view.ramp_resets = (*view.ramp_resets, f"{event.at:.0f} {event.minutes_lost} {event.cause}")
    view.ramp_resets_total += 1
    return {("nodes", event.node_id)}


@on(ev.NodeObserved)
def _node_observed(state: LiveState, event: ev.NodeObserved) -> Touched:
    view = node_of(state, event.node_id)
    if view is None:
        return set()
    view.observed_at = event.at
    if event.source == "metrics":
        view.observed_uptime_minutes, view.observed_multiplier = event.uptime_minutes, event.multiplier
    else:
        view.observed_status = event.status
    return {("nodes", event.node_id)}


@on(ev.ObservationRead)
def _observation_read(state: LiveState, event: ev.ObservationRead) -> Touched:
    engine = state.engine
    if event.source == "metrics":
        engine.observed_metrics, engine.observed_metrics_at = "ok", event.at
    else:
        engine.observed_rest, engine.observed_rest_at = "ok", event.at
        engine.observed_score, engine.observed_status = event.miner_score, event.miner_status
    return {ENGINE}


@on(ev.ObservationFailed)
def _observation_failed(state: LiveState, event: ev.ObservationFailed) -> Touched:
    if event.source == "metrics":
        state.engine.observed_metrics = f"not reachable: {event.error}"
    else:
        state.engine.observed_rest = f"not reachable: {event.error}"
    return {ENGINE}
