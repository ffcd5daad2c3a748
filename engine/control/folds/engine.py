"""Folding rules: the engine itself, its services, the chain and the assignment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine import events as ev
from engine.control.folds.common import ENGINE, is_assigned, on
from engine.control.models import ServiceView

if TYPE_CHECKING:
    from engine.control.state import LiveState, Touched


@on(ev.EngineStarted)
def _engine_started(state: LiveState, event: ev.EngineStarted) -> Touched:
    engine = state.engine
    engine.role, engine.name, engine.build = event.role, event.name, event.build
    engine.hotkey, engine.network, engine.netuid = event.hotkey, event.network, event.netuid
    engine.compressed_time = event.compressed_time
    engine.full_slots, engine.miner_slots = event.full_slots, event.miner_slots
    engine.started_at, engine.stopping, engine.config_note = event.at, False, ""
    return {ENGINE}


@on(ev.EngineStopping)
def _engine_stopping(state: LiveState, event: ev.EngineStopping) -> Touched:
    state.engine.stopping = True
    return {ENGINE}


@on(ev.ConfigReloaded)
def _config_reloaded(state: LiveState, event: ev.ConfigReloaded) -> Touched:
    keys = ", ".join(event.restart_needed)
    state.engine.config_note = f"restart needed for {keys}" if keys else ""
    return {ENGINE}


@on(ev.ConfigRefused)
def _config_refused(state: LiveState, event: ev.ConfigRefused) -> Touched:
    state.engine.config_note = f"not reloaded: {'; '.join(event.problems)}"
    return {ENGINE}


def _service(state: LiveState, name: str) -> ServiceView:
    return state.services.setdefault(name, ServiceView(id=name))


@on(ev.ServiceStarted)
def _service_started(state: LiveState, event: ev.ServiceStarted) -> Touched:
    view = _service(state, event.service)
    view.restarts += view.state == "restarting"
    view.state, view.since, view.retry_at = "running", event.at, None
    return {("services", event.service)}


@on(ev.ServiceCrashed)
def _service_crashed(state: LiveState, event: ev.ServiceCrashed) -> Touched:
    view = _service(state, event.service)
    view.state, view.since = "restarting", event.at
    view.last_error, view.retry_at = event.error, event.at + event.retry_in_s
    return {("services", event.service)}


@on(ev.ServiceStopped)
def _service_stopped(state: LiveState, event: ev.ServiceStopped) -> Touched:
    view = _service(state, event.service)
    view.state, view.since, view.retry_at = "stopped", event.at, None
    return {("services", event.service)}


@on(ev.MetagraphRead)
def _metagraph_read(state: LiveState, event: ev.MetagraphRead) -> Touched:
    engine = state.engine
    engine.netuid, engine.block, engine.metagraph_at = event.netuid, event.block, event.at
    engine.uid, engine.stake_tao = event.own_uid, event.own_stake_tao
    engine.incentive, engine.emission = event.own_incentive, event.own_emission
    engine.chain_error = ""
    return {ENGINE}


@on(ev.OwnWeightsRead)
def _own_weights_read(state: LiveState, event: ev.OwnWeightsRead) -> Touched:
    engine = state.engine
    engine.own_weights, engine.own_weight, engine.own_weights_at = event.weights, event.by_stake, event.at
    return {ENGINE}


@on(ev.ChainFailed)
def _chain_failed(state: LiveState, event: ev.ChainFailed) -> Touched:
    # What was read a moment ago is not unreadable because the chain takes no axon now, or tells no weights.
    if event.operation != "metagraph":
        return set()
    state.engine.chain_error = f"{event.operation}: {event.error}"
    return {ENGINE}


@on(ev.AxonChecked)
def _axon_checked(state: LiveState, event: ev.AxonChecked) -> Touched:
    engine = state.engine
    if event.advertised != engine.axon_advertised:
        engine.reach, engine.reach_peer, engine.reach_detail, engine.reach_at = "", "", "", None
    engine.axon_on_chain, engine.axon_bound, engine.axon_advertised = event.on_chain, event.bound, event.advertised
    return {ENGINE}


@on(ev.AxonCalled)
def _axon_called(state: LiveState, event: ev.AxonCalled) -> Touched:
    engine = state.engine
    if event.address == engine.axon_advertised:  # a call to where we were says nothing about where we are
        engine.reach, engine.reach_peer, engine.reach_detail = event.outcome, event.peer, event.detail
        engine.reach_at = event.at
    return {ENGINE}


@on(ev.AxonServed)
def _axon_served(state: LiveState, event: ev.AxonServed) -> Touched:
    state.engine.axon_on_chain = event.endpoint
    return {ENGINE}


@on(ev.AssignmentChanged)
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
        may_enter = is_assigned(state, session.id)
        if session.assigned != may_enter:
            session.assigned = may_enter
            touched.add(("sessions", session.id))
    return touched


@on(ev.AuditAnchored)
def _audit_anchored(state: LiveState, event: ev.AuditAnchored) -> Touched:
    state.engine.audit_seq, state.engine.audit_bytes = event.seq, event.bytes
    return {ENGINE}


@on(ev.AuditBroken)
def _audit_broken(state: LiveState, event: ev.AuditBroken) -> Touched:
    state.engine.audit_error = event.reason
    return {ENGINE}


@on(ev.RecordingHalted)
def _recording_halted(state: LiveState, event: ev.RecordingHalted) -> Touched:
    state.engine.recording_error = event.reason
    return {ENGINE}


@on(ev.RecordingResumed)
def _recording_resumed(state: LiveState, event: ev.RecordingResumed) -> Touched:
    state.engine.recording_error, state.engine.recording_lost = "", event.lost
    return {ENGINE}


@on(ev.RecordingMeasured)
def _recording_measured(state: LiveState, event: ev.RecordingMeasured) -> Touched:
    engine = state.engine
    engine.recording_bytes, engine.recording_oldest_at = event.bytes, event.oldest_at
    engine.recording_lost = event.lost
    return {ENGINE}
