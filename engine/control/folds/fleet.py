"""Folding rules: nodes, their checks and host keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine import events as ev
from engine.control.folds.common import node_of, on
from engine.control.models import NodeView

if TYPE_CHECKING:
    from engine.control.state import LiveState, Touched

RECENT_CHECKS = 60
RECENT_LOAD = 24
HOST_KEY_CHANGED = "host key changed"
HOST_KEY_HINT = "compare both fingerprints with the node's own, then accept the new one or repair the node"


@on(ev.NodeAdded)
def _node_added(state: LiveState, event: ev.NodeAdded) -> Touched:
    state.memory.gone.discard(event.node_id)
    view = state.nodes.setdefault(event.node_id, NodeView(id=event.node_id))
    view.label, view.host, view.port, view.username = event.label, event.host, event.port, event.username
    return {("nodes", event.node_id)}


@on(ev.NodeRemoved)
def _node_removed(state: LiveState, event: ev.NodeRemoved) -> Touched:
    state.nodes.pop(event.node_id, None)
    state.memory.wanted.pop(event.node_id, None)
    state.memory.in_place.pop(event.node_id, None)
    state.memory.key_lines.pop(event.node_id, None)
    state.memory.gone.add(event.node_id)
    return {("nodes", event.node_id)}


@on(ev.NodeDrained)
def _node_drained(state: LiveState, event: ev.NodeDrained) -> Touched:
    view = node_of(state, event.node_id)
    if view is None:
        return set()
    view.drained_since = event.since
    return {("nodes", event.node_id)}


@on(ev.NodeEnabled)
def _node_enabled(state: LiveState, event: ev.NodeEnabled) -> Touched:
    view = node_of(state, event.node_id)
    if view is None:
        return set()
    view.drained_since = None
    return {("nodes", event.node_id)}


@on(ev.NodeChecked)
def _node_checked(state: LiveState, event: ev.NodeChecked) -> Touched:
    view = node_of(state, event.node_id)
    if view is None:
        return set()
    view.checks_total += 1
    view.checks_ok += event.ok
    view.recent_checks = (*view.recent_checks[1 - RECENT_CHECKS :], int(event.ok))
    view.last_check_at, view.latency_ms = event.at, event.latency_ms
    _keep_facts(view, event)
    if event.ok:
        if view.state != "stopped":
            view.reason, view.hint = "", ""
    else:
        view.reason, view.hint = event.message or event.error_code, event.hint
        view.last_trouble, view.last_trouble_at = view.reason, event.at
    return {("nodes", event.node_id)}


def _keep_facts(view: NodeView, event: ev.NodeChecked) -> None:
    """What a node is stays known while it cannot be asked; what it is doing does not."""
    view.gpu_model = event.gpu_model or view.gpu_model
    view.gpu_count = view.gpu_count if event.gpu_count is None else event.gpu_count
    view.gpu_memory_mib = view.gpu_memory_mib if event.gpu_memory_mib is None else event.gpu_memory_mib
    view.gpu_uuids = event.gpu_uuids or view.gpu_uuids
    view.driver, view.cuda = event.driver or view.driver, event.cuda or view.cuda
    view.sshd_version = event.sshd_version or view.sshd_version
    view.host_key_fingerprint = event.host_key_fingerprint or view.host_key_fingerprint
    view.clock_skew_s = view.clock_skew_s if event.clock_skew_s is None else event.clock_skew_s
    view.disk_free_bytes = view.disk_free_bytes if event.disk_free_bytes is None else event.disk_free_bytes
    view.utilisation_percent, view.temperature_c = event.utilisation_percent, event.temperature_c
    load = -1 if event.utilisation_percent is None else round(event.utilisation_percent)
    view.recent_load = (*view.recent_load[1 - RECENT_LOAD :], load)
    view.compute_capability = event.compute_capability or view.compute_capability
    view.ecc_errors = view.ecc_errors if event.ecc_errors is None else event.ecc_errors
    view.ssh_success_percent, view.next_check_at = event.ssh_success_percent, event.next_check_at
    view.latency_mean_ms, view.latency_p95_ms = event.latency_mean_ms, event.latency_p95_ms


@on(ev.NodeStateChanged)
def _node_state_changed(state: LiveState, event: ev.NodeStateChanged) -> Touched:
    view = node_of(state, event.node_id)
    if view is None:
        return set()
    view.state = event.new
    if event.new == "healthy":
        view.reason, view.hint = "", ""
    else:
        view.reason = event.reason
        if event.reason and event.new != "unknown":
            view.last_trouble, view.last_trouble_at = event.reason, event.at
    return {("nodes", event.node_id)}


@on(ev.HostKeyPinned)
def _host_key_pinned(state: LiveState, event: ev.HostKeyPinned) -> Touched:
    view = node_of(state, event.node_id)
    if view is None:
        return set()
    view.host_key_fingerprint, view.host_key_presented = event.fingerprint, ""
    return {("nodes", event.node_id)}


@on(ev.HostKeyChanged)
def _host_key_changed(state: LiveState, event: ev.HostKeyChanged) -> Touched:
    view = node_of(state, event.node_id)
    if view is None:
        return set()
    view.state, view.reason, view.hint = "stopped", HOST_KEY_CHANGED, HOST_KEY_HINT
    view.host_key_fingerprint, view.host_key_presented = event.pinned, event.presented
    view.last_trouble, view.last_trouble_at = HOST_KEY_CHANGED, event.at
    return {("nodes", event.node_id)}


@on(ev.HostKeyAccepted)
def _host_key_accepted(state: LiveState, event: ev.HostKeyAccepted) -> Touched:
    view = node_of(state, event.node_id)
    if view is None:
        return set()
    view.host_key_fingerprint, view.host_key_presented = event.fingerprint, ""
    if view.state == "stopped":
        view.state, view.reason, view.hint = "unknown", "", ""
    return {("nodes", event.node_id)}
