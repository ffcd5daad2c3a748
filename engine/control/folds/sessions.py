"""Folding rules: validators at the miner's door."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine import events as ev
from engine.control.folds.common import ENGINE, is_assigned, on
from engine.control.models import SessionView

if TYPE_CHECKING:
    from engine.control.state import LiveState, Touched


def _session(state: LiveState, hotkey: str) -> SessionView:
    return state.sessions.setdefault(hotkey, SessionView(id=hotkey, hotkey=hotkey, assigned=is_assigned(state, hotkey)))


@on(ev.ValidatorAuthenticated)
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


@on(ev.CallRefused)
def _call_refused(state: LiveState, event: ev.CallRefused) -> Touched:
    # The hotkey of a refused call is a claim, so it neither opens a session nor proves that validators reach us.
    state.counters["refusals"] += 1
    return set()


@on(ev.DiscoveryAnswered)
def _discovery_answered(state: LiveState, event: ev.DiscoveryAnswered) -> Touched:
    hotkey = event.validator_hotkey
    view = _session(state, hotkey)
    view.dialect, view.peer, view.last_discovery_at = event.dialect, event.peer, event.at
    view.assigned, view.nodes_ready, view.nodes_failed = event.assigned, event.nodes_ready, event.nodes_failed
    view.access_until = event.access_until
    if (view.certified_until or 0.0) < (event.access_until or 0.0) - 1.0:
        view.certified_until = None  # this time its key was put there
    if event.key_fingerprint:
        view.key_fingerprint = event.key_fingerprint
    if event.assigned and event.nodes_ready > 0:
        state.counters["sessions_opened"] += view.state != "active"
        view.state, view.ended_at, view.end_reason = "active", None, ""
    state.engine.last_called_at, state.engine.last_called_by = event.at, hotkey
    return {("sessions", hotkey), ENGINE}


@on(ev.AccessRenewed)
def _access_renewed(state: LiveState, event: ev.AccessRenewed) -> Touched:
    _session(state, event.validator_hotkey).access_until = event.access_until
    return {("sessions", event.validator_hotkey)}


@on(ev.ValidatorKeyChanged)
def _validator_key_changed(state: LiveState, event: ev.ValidatorKeyChanged) -> Touched:
    _session(state, event.validator_hotkey).key_fingerprint = event.new_fingerprint
    return {("sessions", event.validator_hotkey)}


@on(ev.SessionEnded)
def _session_ended(state: LiveState, event: ev.SessionEnded) -> Touched:
    view = _session(state, event.validator_hotkey)
    state.counters["sessions_ended"] += view.state != "ended"
    view.state, view.ended_at, view.end_reason = "ended", event.at, event.reason
    view.access_until = view.certified_until = None
    return {("sessions", event.validator_hotkey)}


@on(ev.SessionRestored)
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


@on(ev.CertificateIssued)
def _certificate_issued(state: LiveState, event: ev.CertificateIssued) -> Touched:
    view = _session(state, event.validator_hotkey)
    view.certified_until = max(view.certified_until or 0.0, event.expires_at)
    return {("sessions", event.validator_hotkey)}
