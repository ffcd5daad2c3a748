"""The rules by which an event changes the live state: one small function per event, no clock, no I/O."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from engine import events as ev
from engine.control.models import AlertView, MinerView, NodeView, ServiceView, SessionView, VerificationView

if TYPE_CHECKING:
    from engine.control.state import LiveState, Touched

RECENT_CHECKS = 60
MAX_ALERTS = 500
MAX_MINERS = 1_000
MAX_VERIFICATIONS = 5_000
"""Ids of verified nodes are chosen by miners, so their number needs a bound of ours."""

ENGINE = ("engine", "engine")
HOST_KEY_CHANGED = "host key changed"
HOST_KEY_HINT = "compare both fingerprints with the node's own, then accept the new one or repair the node"

Fold = Callable[["LiveState", Any], "Touched"]
FOLDS: dict[type[ev.Event], Fold] = {}
E = TypeVar("E", bound=ev.Event)
T = TypeVar("T")


@dataclass(slots=True)
class Memory:
    """Grant ids behind the key counts of each node, and nodes that left and must not come back by a late event."""

    wanted: dict[str, set[str]] = field(default_factory=dict)
    in_place: dict[str, set[str]] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)


def _on(cls: type[E]) -> Callable[[Callable[[LiveState, E], Touched]], Callable[[LiveState, E], Touched]]:
    def register(rule: Callable[[LiveState, E], Touched]) -> Callable[[LiveState, E], Touched]:
        FOLDS[cls] = rule
        return rule

    return register


def _bounded(items: MutableMapping[str, T], limit: int, collection: str, *, keep: Callable[[T], bool]) -> Touched:
    """Forget the oldest entries that may be forgotten while there are too many."""
    touched: Touched = set()
    while len(items) > limit:
        victim = next((key for key, value in items.items() if not keep(value)), None) or next(iter(items))
        del items[victim]
        touched.add((collection, victim))
    return touched


# --- engine and services --------------------------------------------------------------------------------------


@_on(ev.EngineStarted)
def _engine_started(state: LiveState, event: ev.EngineStarted) -> Touched:
    engine = state.engine
    engine.role, engine.name, engine.build = event.role, event.name, event.build
    engine.hotkey, engine.network, engine.netuid = event.hotkey, event.network, event.netuid
    engine.compressed_time = event.compressed_time
    engine.started_at, engine.stopping = event.at, False
    return {ENGINE}


@_on(ev.EngineStopping)
def _engine_stopping(state: LiveState, event: ev.EngineStopping) -> Touched:
    state.engine.stopping = True
    return {ENGINE}


def _service(state: LiveState, name: str) -> ServiceView:
    return state.services.setdefault(name, ServiceView(id=name))


@_on(ev.ServiceStarted)
def _service_started(state: LiveState, event: ev.ServiceStarted) -> Touched:
    view = _service(state, event.service)
    view.restarts += view.state == "restarting"
    view.state, view.since, view.retry_at = "running", event.at, None
    return {("services", event.service)}


@_on(ev.ServiceCrashed)
def _service_crashed(state: LiveState, event: ev.ServiceCrashed) -> Touched:
    view = _service(state, event.service)
    view.state, view.since = "restarting", event.at
    view.last_error, view.retry_at = event.error, event.at + event.retry_in_s
    return {("services", event.service)}


@_on(ev.ServiceStopped)
def _service_stopped(state: LiveState, event: ev.ServiceStopped) -> Touched:
    view = _service(state, event.service)
    view.state, view.since, view.retry_at = "stopped", event.at, None
    return {("services", event.service)}


# --- chain ----------------------------------------------------------------------------------------------------


@_on(ev.MetagraphRead)
def _metagraph_read(state: LiveState, event: ev.MetagraphRead) -> Touched:
    engine = state.engine
    engine.netuid, engine.block, engine.metagraph_at = event.netuid, event.block, event.at
    engine.uid, engine.stake_tao = event.own_uid, event.own_stake_tao
    engine.incentive, engine.emission = event.own_incentive, event.own_emission
    engine.chain_error = ""
    return {ENGINE}


@_on(ev.ChainFailed)
def _chain_failed(state: LiveState, event: ev.ChainFailed) -> Touched:
    state.engine.chain_error = f"{event.operation}: {event.error}"
    return {ENGINE}


@_on(ev.AxonChecked)
def _axon_checked(state: LiveState, event: ev.AxonChecked) -> Touched:
    engine = state.engine
    engine.axon_on_chain, engine.axon_bound, engine.axon_advertised = event.on_chain, event.bound, event.advertised
    return {ENGINE}


@_on(ev.AxonServed)
def _axon_served(state: LiveState, event: ev.AxonServed) -> Touched:
    state.engine.axon_on_chain = event.endpoint
    return {ENGINE}


def _is_assigned(state: LiveState, hotkey: str) -> bool:
    engine = state.engine
    return engine.assigned_hotkey == hotkey if engine.assigned_hotkey else engine.strategy == "open"


@_on(ev.AssignmentChanged)
def _assignment_changed(state: LiveState, event: ev.AssignmentChanged) -> Touched:
    engine = state.engine
    is_same = (engine.strategy, engine.assigned_hotkey) == (event.strategy, event.validator_hotkey)
    if not is_same or engine.assigned_since is None:
        engine.assigned_since = event.at
    engine.strategy, engine.assigned_hotkey = event.strategy, event.validator_hotkey
    engine.assigned_uid, engine.assigned_stake_tao = event.uid, event.stake_tao
    engine.assigned_reason = event.reason
    touched = {ENGINE}
    for session in state.sessions.values():
        is_assigned = _is_assigned(state, session.id)
        if session.assigned != is_assigned:
            session.assigned = is_assigned
            touched.add(("sessions", session.id))
    return touched


# --- the miner's door -----------------------------------------------------------------------------------------


def _session(state: LiveState, hotkey: str) -> SessionView:
    return state.sessions.setdefault(
        hotkey, SessionView(id=hotkey, hotkey=hotkey, assigned=_is_assigned(state, hotkey))
    )


@_on(ev.ValidatorAuthenticated)
def _authenticated(state: LiveState, event: ev.ValidatorAuthenticated) -> Touched:
    hotkey = event.validator_hotkey
    known = state.sessions.get(hotkey)
    if known is not None and known.state == "ended":
        del state.sessions[hotkey]
    view = _session(state, hotkey)
    view.uid, view.stake_tao, view.dialect, view.peer = event.uid, event.stake_tao, event.dialect, event.peer
    view.authenticated_at, view.token_expires_at = event.at, event.expires_at
    state.counters["authentications"] += 1
    state.engine.last_called_at, state.engine.last_called_by = event.at, hotkey
    return {("sessions", hotkey), ENGINE}


@_on(ev.CallRefused)
def _call_refused(state: LiveState, event: ev.CallRefused) -> Touched:
    # The hotkey of a refused call is a claim, so it neither opens a session nor proves that validators reach us.
    state.counters["refusals"] += 1
    return set()


@_on(ev.DiscoveryAnswered)
def _discovery_answered(state: LiveState, event: ev.DiscoveryAnswered) -> Touched:
    hotkey = event.validator_hotkey
    view = _session(state, hotkey)
    view.dialect, view.peer, view.last_discovery_at = event.dialect, event.peer, event.at
    view.assigned, view.nodes_ready, view.nodes_failed = event.assigned, event.nodes_ready, event.nodes_failed
    view.access_until = event.access_until
    if event.key_fingerprint:
        view.key_fingerprint = event.key_fingerprint
    if event.assigned and event.nodes_ready > 0:
        state.counters["sessions_opened"] += view.state != "active"
        view.state, view.ended_at, view.end_reason = "active", None, ""
    state.engine.last_called_at, state.engine.last_called_by = event.at, hotkey
    return {("sessions", hotkey), ENGINE}


@_on(ev.ValidatorKeyChanged)
def _validator_key_changed(state: LiveState, event: ev.ValidatorKeyChanged) -> Touched:
    _session(state, event.validator_hotkey).key_fingerprint = event.new_fingerprint
    return {("sessions", event.validator_hotkey)}


@_on(ev.SessionEnded)
def _session_ended(state: LiveState, event: ev.SessionEnded) -> Touched:
    view = _session(state, event.validator_hotkey)
    state.counters["sessions_ended"] += view.state != "ended"
    view.state, view.ended_at, view.end_reason = "ended", event.at, event.reason
    view.access_until = None
    return {("sessions", event.validator_hotkey)}


@_on(ev.SessionRestored)
def _session_restored(state: LiveState, event: ev.SessionRestored) -> Touched:
    view = _session(state, event.validator_hotkey)
    view.uid, view.stake_tao, view.dialect, view.peer = event.uid, event.stake_tao, event.dialect, event.peer
    view.authenticated_at, view.token_expires_at = event.authenticated_at, event.token_expires_at
    view.last_discovery_at, view.access_until = event.last_discovery_at, event.access_until
    view.nodes_ready, view.nodes_failed = event.nodes_ready, event.nodes_failed
    view.key_fingerprint = event.key_fingerprint
    view.state = "authenticated" if event.access_until is None else "active"
    last = event.last_discovery_at or event.authenticated_at
    if state.engine.last_called_at is None or last > state.engine.last_called_at:
        state.engine.last_called_at, state.engine.last_called_by = last, event.validator_hotkey
    return {("sessions", event.validator_hotkey), ENGINE}


@_on(ev.SessionRestored)
def _session_restored(state: LiveState, event: ev.SessionRestored) -> Touched:
    view = _session(state, event.validator_hotkey)
    view.uid, view.stake_tao, view.dialect, view.peer = event.uid, event.stake_tao, event.dialect, event.peer
    view.authenticated_at, view.token_expires_at = event.authenticated_at, event.token_expires_at
    view.last_discovery_at, view.access_until = event.last_discovery_at, event.access_until
    view.nodes_ready, view.nodes_failed = event.nodes_ready, event.nodes_failed
    view.key_fingerprint = event.key_fingerprint
    is_open = event.nodes_ready > 0 and event.access_until is not None and event.access_until > event.at
    view.state = "active" if is_open else "authenticated"
    return {("sessions", event.validator_hotkey)}


# --- grants and keys ------------------------------------------------------------------------------------------


def _node(state: LiveState, node_id: str) -> NodeView | None:
    """The node's view, made up when a recording starts in the middle; None when the node has left."""
    view = state.nodes.get(node_id)
    if view is None and node_id not in state.memory.gone:
        view = state.nodes[node_id] = NodeView(id=node_id)
    return view


def _count_keys(state: LiveState, node_id: str) -> Touched:
    view = _node(state, node_id)
    if view is None:
        return set()
    view.keys_wanted = len(state.memory.wanted.get(node_id, ()))
    view.keys_in_place = len(state.memory.in_place.get(node_id, ()))
    return {("nodes", node_id)}


@_on(ev.GrantWritten)
def _grant_written(state: LiveState, event: ev.GrantWritten) -> Touched:
    state.memory.wanted.setdefault(event.node_id, set()).add(event.grant_id)
    return _count_keys(state, event.node_id)


@_on(ev.GrantRestored)
def _grant_restored(state: LiveState, event: ev.GrantRestored) -> Touched:
    state.memory.wanted.setdefault(event.node_id, set()).add(event.grant_id)
    if event.is_in_place:
        state.memory.in_place.setdefault(event.node_id, set()).add(event.grant_id)
    return _count_keys(state, event.node_id)


@_on(ev.GrantRestored)
def _grant_restored(state: LiveState, event: ev.GrantRestored) -> Touched:
    if event.expires_at > event.at:
        state.memory.wanted.setdefault(event.node_id, set()).add(event.grant_id)
    if event.is_in_place:
        state.memory.in_place.setdefault(event.node_id, set()).add(event.grant_id)
    return _count_keys(state, event.node_id)


@_on(ev.GrantEnded)
def _grant_ended(state: LiveState, event: ev.GrantEnded) -> Touched:
    state.memory.wanted.get(event.node_id, set()).discard(event.grant_id)
    return _count_keys(state, event.node_id)


@_on(ev.KeyDeployed)
def _key_deployed(state: LiveState, event: ev.KeyDeployed) -> Touched:
    state.memory.wanted.setdefault(event.node_id, set()).add(event.grant_id)
    state.memory.in_place.setdefault(event.node_id, set()).add(event.grant_id)
    state.counters["keys_deployed"] += not event.renewed
    return _key_settled(state, event.node_id)


@_on(ev.KeyRemoved)
def _key_removed(state: LiveState, event: ev.KeyRemoved) -> Touched:
    state.memory.wanted.get(event.node_id, set()).discard(event.grant_id)
    state.memory.in_place.get(event.node_id, set()).discard(event.grant_id)
    state.counters["keys_removed"] += 1
    return _key_settled(state, event.node_id)


def _key_settled(state: LiveState, node_id: str) -> Touched:
    view = _node(state, node_id)
    if view is not None:
        view.key_error = ""
    return _count_keys(state, node_id)


@_on(ev.KeyFailed)
def _key_failed(state: LiveState, event: ev.KeyFailed) -> Touched:
    view = _node(state, event.node_id)
    if view is None:
        return set()
    view.key_error = event.message or event.error_code
    view.hint = event.hint or view.hint
    view.last_trouble, view.last_trouble_at = view.key_error, event.at
    return {("nodes", event.node_id)}


@_on(ev.ForeignKeysSeen)
def _foreign_keys_seen(state: LiveState, event: ev.ForeignKeysSeen) -> Touched:
    view = _node(state, event.node_id)
    if view is None:
        return set()
    view.operator_keys, view.leftovers, view.orphans = event.operator_keys, event.leftovers, event.orphans
    return {("nodes", event.node_id)}


# --- fleet ----------------------------------------------------------------------------------------------------


@_on(ev.NodeAdded)
def _node_added(state: LiveState, event: ev.NodeAdded) -> Touched:
    state.memory.gone.discard(event.node_id)
    view = state.nodes.setdefault(event.node_id, NodeView(id=event.node_id))
    view.label, view.host, view.port, view.username = event.label, event.host, event.port, event.username
    return {("nodes", event.node_id)}


@_on(ev.NodeRemoved)
def _node_removed(state: LiveState, event: ev.NodeRemoved) -> Touched:
    state.nodes.pop(event.node_id, None)
    state.memory.wanted.pop(event.node_id, None)
    state.memory.in_place.pop(event.node_id, None)
    state.memory.gone.add(event.node_id)
    return {("nodes", event.node_id)}


@_on(ev.NodeChecked)
def _node_checked(state: LiveState, event: ev.NodeChecked) -> Touched:
    view = _node(state, event.node_id)
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
    view.utilisation_percent, view.temperature_c = event.utilisation_percent, event.temperature_c


@_on(ev.NodeStateChanged)
def _node_state_changed(state: LiveState, event: ev.NodeStateChanged) -> Touched:
    view = _node(state, event.node_id)
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


@_on(ev.HostKeyPinned)
def _host_key_pinned(state: LiveState, event: ev.HostKeyPinned) -> Touched:
    view = _node(state, event.node_id)
    if view is None:
        return set()
    view.host_key_fingerprint, view.host_key_presented = event.fingerprint, ""
    return {("nodes", event.node_id)}


@_on(ev.HostKeyChanged)
def _host_key_changed(state: LiveState, event: ev.HostKeyChanged) -> Touched:
    view = _node(state, event.node_id)
    if view is None:
        return set()
    view.state, view.reason, view.hint = "stopped", HOST_KEY_CHANGED, HOST_KEY_HINT
    view.host_key_fingerprint, view.host_key_presented = event.pinned, event.presented
    view.last_trouble, view.last_trouble_at = HOST_KEY_CHANGED, event.at
    return {("nodes", event.node_id)}


@_on(ev.HostKeyAccepted)
def _host_key_accepted(state: LiveState, event: ev.HostKeyAccepted) -> Touched:
    view = _node(state, event.node_id)
    if view is None:
        return set()
    view.host_key_fingerprint, view.host_key_presented = event.fingerprint, ""
    if view.state == "stopped":
        view.state, view.reason, view.hint = "unknown", "", ""
    return {("nodes", event.node_id)}


# --- alerts ---------------------------------------------------------------------------------------------------


@_on(ev.AlertRaised)
def _alert_raised(state: LiveState, event: ev.AlertRaised) -> Touched:
    known = state.alerts.get(event.alert_id)
    if known is None or not known.active:
        # Taken out first, so that one that comes back is the youngest again.
        state.alerts.pop(event.alert_id, None)
        known = state.alerts[event.alert_id] = AlertView(id=event.alert_id, began_at=event.at)
    known.level, known.subject, known.message, known.hint = event.level, event.subject, event.message, event.hint
    dropped = _bounded(state.alerts, MAX_ALERTS, "alerts", keep=lambda alert: alert.active)
    return {("alerts", event.alert_id)} | dropped


@_on(ev.AlertCleared)
def _alert_cleared(state: LiveState, event: ev.AlertCleared) -> Touched:
    view = state.alerts.get(event.alert_id)
    if view is None or not view.active:
        return set()
    view.active, view.ended_at = False, event.at
    return {("alerts", event.alert_id)}


# --- validator role -------------------------------------------------------------------------------------------


def _miner(state: LiveState, hotkey: str, uid: int) -> tuple[MinerView, Touched]:
    view = state.miners.setdefault(hotkey, MinerView(id=hotkey, hotkey=hotkey))
    view.uid = uid
    return view, {("miners", hotkey)} | _bounded(state.miners, MAX_MINERS, "miners", keep=lambda it: it is view)


@_on(ev.MinerDiscovered)
def _miner_discovered(state: LiveState, event: ev.MinerDiscovered) -> Touched:
    view, touched = _miner(state, event.hotkey, event.uid)
    view.endpoint = event.endpoint
    return touched


@_on(ev.MinerAnswered)
def _miner_answered(state: LiveState, event: ev.MinerAnswered) -> Touched:
    view, touched = _miner(state, event.hotkey, event.uid)
    view.state, view.dialect, view.nodes = "answered", event.dialect, event.nodes
    view.last_answer_at, view.duration_ms = event.at, event.duration_ms
    return touched


@_on(ev.MinerFailed)
def _miner_failed(state: LiveState, event: ev.MinerFailed) -> Touched:
    view, touched = _miner(state, event.hotkey, event.uid)
    view.state, view.last_error_at = "failed", event.at
    view.last_error = f"{event.stage}: {event.message or event.error_code}"
    return touched


def _verification(state: LiveState, node_id: str) -> tuple[VerificationView, Touched]:
    view = state.verifications.setdefault(node_id, VerificationView(id=node_id))
    dropped = _bounded(state.verifications, MAX_VERIFICATIONS, "verifications", keep=lambda it: it is view)
    return view, {("verifications", node_id)} | dropped


@_on(ev.VerificationRestored)
def _verification_restored(state: LiveState, event: ev.VerificationRestored) -> Touched:
    return _show_verification(state, event)[1]


@_on(ev.NodeVerified)
def _node_verified(state: LiveState, event: ev.NodeVerified) -> Touched:
    view, touched = _show_verification(state, event)
    view.passed += event.ok
    view.failed += not event.ok
    state.counters["verifications"] += 1
    state.counters["verifications_failed"] += not event.ok
    return touched


def _show_verification(state: LiveState, event: ev.NodeVerified) -> tuple[VerificationView, Touched]:
    view, touched = _verification(state, event.node_id)
    view.miner_hotkey, view.miner_uid, view.endpoint = event.miner_hotkey, event.miner_uid, event.endpoint
    view.tier, view.at, view.duration_ms = event.tier, event.at, event.duration_ms
    view.state, view.message = ("passed", "") if event.ok else ("failed", event.message or event.error_code)
    view.gpu_model = event.gpu_model or view.gpu_model
    view.gpu_uuids = event.gpu_uuids or view.gpu_uuids
    return view, touched


@_on(ev.AccessLost)
def _access_lost(state: LiveState, event: ev.AccessLost) -> Touched:
    view, touched = _verification(state, event.node_id)
    view.miner_hotkey, view.endpoint = event.miner_hotkey, event.endpoint
    view.state, view.at = "access_lost", event.at
    view.message = f"our key stopped working after {event.after_s:.0f} s"
    state.counters["access_lost"] += 1
    return touched
