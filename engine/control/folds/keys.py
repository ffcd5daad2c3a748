"""Folding rules: grants and the keys on the nodes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from engine import events as ev
from engine.control.folds.common import ENGINE, node_of, on

if TYPE_CHECKING:
    from engine.control.state import LiveState, Touched


def _count_keys(state: LiveState, node_id: str) -> Touched:
    view = node_of(state, node_id)
    if view is None:
        return set()
    view.keys_wanted = len(state.memory.wanted.get(node_id, ()))
    view.keys_in_place = len(state.memory.in_place.get(node_id, ()))
    view.keys = _with_times(state, node_id)
    return {("nodes", node_id)}


def _with_times(state: LiveState, node_id: str) -> tuple[str, ...]:
    """The node's lines, those of grants with their times."""
    found = []
    for text in state.memory.key_lines.get(node_id, ()):
        try:
            line = json.loads(text)
        except ValueError:
            continue  # a recording may hold anything
        times = state.memory.grant_times.get(line.get("grant_id", ""))
        if times is not None:
            line["since"], line["until"] = times
        found.append(json.dumps(line, ensure_ascii=True))
    return tuple(found)


def _grant_lasts(state: LiveState, grant_id: str, since: float | None, until: float) -> None:
    known = state.memory.grant_times.get(grant_id, (since, until))[0]
    state.memory.grant_times[grant_id] = (known, until)


@on(ev.KeyLinesSeen)
def _key_lines_seen(state: LiveState, event: ev.KeyLinesSeen) -> Touched:
    state.memory.key_lines[event.node_id] = event.lines
    return _count_keys(state, event.node_id)


@on(ev.GrantWritten)
def _grant_written(state: LiveState, event: ev.GrantWritten) -> Touched:
    state.memory.wanted.setdefault(event.node_id, set()).add(event.grant_id)
    _grant_lasts(state, event.grant_id, event.at, event.expires_at)
    return _count_keys(state, event.node_id)


@on(ev.GrantRestored)
def _grant_restored(state: LiveState, event: ev.GrantRestored) -> Touched:
    if event.expires_at > event.at:
        state.memory.wanted.setdefault(event.node_id, set()).add(event.grant_id)
    _grant_lasts(state, event.grant_id, None, event.expires_at)
    if event.is_in_place:
        state.memory.in_place.setdefault(event.node_id, set()).add(event.grant_id)
    return _count_keys(state, event.node_id)


@on(ev.GrantEnded)
def _grant_ended(state: LiveState, event: ev.GrantEnded) -> Touched:
    state.memory.wanted.get(event.node_id, set()).discard(event.grant_id)
    return _count_keys(state, event.node_id)


@on(ev.KeyDeployed)
def _key_deployed(state: LiveState, event: ev.KeyDeployed) -> Touched:
    state.memory.wanted.setdefault(event.node_id, set()).add(event.grant_id)
    state.memory.in_place.setdefault(event.node_id, set()).add(event.grant_id)
    state.counters["keys_deployed"] += not event.renewed
    return _key_settled(state, event.node_id)


@on(ev.KeyRemoved)
def _key_removed(state: LiveState, event: ev.KeyRemoved) -> Touched:
    state.memory.wanted.get(event.node_id, set()).discard(event.grant_id)
    state.memory.in_place.get(event.node_id, set()).discard(event.grant_id)
    state.memory.grant_times.pop(event.grant_id, None)
    state.counters["keys_removed"] += 1
    return _key_settled(state, event.node_id)


def _key_settled(state: LiveState, node_id: str) -> Touched:
    view = node_of(state, node_id)
    if view is not None:
        view.key_error = ""
    return _count_keys(state, node_id)


@on(ev.KeyFailed)
def _key_failed(state: LiveState, event: ev.KeyFailed) -> Touched:
    view = node_of(state, event.node_id)
    if view is None:
        return set()
    view.key_error = event.message or event.error_code
    view.hint = event.hint or view.hint
    view.last_trouble, view.last_trouble_at = view.key_error, event.at
    return {("nodes", event.node_id)}


@on(ev.ForeignKeysSeen)
def _foreign_keys_seen(state: LiveState, event: ev.ForeignKeysSeen) -> Touched:
    view = node_of(state, event.node_id)
    if view is None:
        return set()
    view.operator_keys, view.leftovers, view.orphans = event.operator_keys, event.leftovers, event.orphans
    return {("nodes", event.node_id)}


@on(ev.NodeEnrolled)
def _node_enrolled(state: LiveState, event: ev.NodeEnrolled) -> Touched:
    view = node_of(state, event.node_id)
    if view is None:
        return set()
    if event.refusal:
        view.key_error = event.message
    elif '"refusal": ""' not in view.capability_json and view.capability_json:
        view.key_error = ""
    view.expiry_enforced, view.clock_skew_s = event.expiry_enforced, event.clock_skew_s
    view.sshd_version = event.sshd_version or view.sshd_version
    names = ("sshd_version", "expiry_form", "expiry_enforced", "clock_skew_s", "tools", "key_file", "key_file_mode")
    facts = {name: getattr(event, name) for name in (*names, "can_wrap", "can_certify", "refusal", "message")}
    view.capability_json = json.dumps(facts | {"measured_at": event.at}, ensure_ascii=True)
    return {("nodes", event.node_id)}


@on(ev.DriftSeen)
def _drift_seen(state: LiveState, event: ev.DriftSeen) -> Touched:
    view = node_of(state, event.node_id)
    if view is None:
        return set()
    view.drift, view.drift_lines = event.count, event.lines
    return {("nodes", event.node_id)}


@on(ev.LiveSessionsSeen)
def _live_sessions_seen(state: LiveState, event: ev.LiveSessionsSeen) -> Touched:
    view = node_of(state, event.node_id)
    if view is None:
        return set()
    view.live_sessions, view.live_sessions_oldest_s = event.others, event.oldest_s
    view.live_sessions_of_grants = event.of_grants
    return {("nodes", event.node_id)}


@on(ev.ClockSkewSeen)
def _clock_skew_seen(state: LiveState, event: ev.ClockSkewSeen) -> Touched:
    view = node_of(state, event.node_id)
    if view is None:
        return set()
    view.clock_skew_s = event.skew_s
    return {("nodes", event.node_id)}


@on(ev.BaselineAccepted)
def _baseline_accepted(state: LiveState, event: ev.BaselineAccepted) -> Touched:
    view = node_of(state, event.node_id)
    if view is None:
        return set()
    view.baseline_keys = event.keys
    return {("nodes", event.node_id)}


@on(ev.ForeignKeyRemoved)
def _foreign_key_removed(state: LiveState, event: ev.ForeignKeyRemoved) -> Touched:
    view = node_of(state, event.node_id)
    if view is None:
        return set()
    view.key_note = f"removed {event.fingerprint} {event.description}".rstrip()
    return {("nodes", event.node_id)}


@on(ev.LeftoversAdopted)
def _leftovers_adopted(state: LiveState, event: ev.LeftoversAdopted) -> Touched:
    view = node_of(state, event.node_id)
    if view is None:
        return set()
    view.key_note = f"removed {event.count} leftovers of an earlier miner"
    return {("nodes", event.node_id)}


@on(ev.SessionProcessesEnded)
def _session_processes_ended(state: LiveState, event: ev.SessionProcessesEnded) -> Touched:
    view = node_of(state, event.node_id)
    if view is None:
        return set()
    view.processes_ended += event.processes
    return {("nodes", event.node_id)}


@on(ev.NodeKeyRotated)
def _node_key_rotated(state: LiveState, event: ev.NodeKeyRotated) -> Touched:
    is_over = event.step in {"finished", "abandoned"}
    state.engine.node_key_rotation = "" if is_over else f"{event.step} {event.message}".rstrip()
    return {ENGINE}
