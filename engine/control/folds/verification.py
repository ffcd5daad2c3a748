"""Folding rules of the validator role: miners and the verification of their nodes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from engine import events as ev
from engine.control.folds.common import ENGINE, bounded, on
from engine.control.models import MinerView, VerificationView, WeightView, place_id

if TYPE_CHECKING:
    from engine.control.state import LiveState, Touched

MAX_MINERS = 1_000
MAX_VERIFICATIONS = 5_000
"""Ids of verified nodes are chosen by miners, so their number needs a bound of ours."""
MAX_STEPS = 32
MAX_WEIGHTS = 4_096


def _miner(state: LiveState, hotkey: str, uid: int) -> tuple[MinerView, Touched]:
    view = state.miners.setdefault(hotkey, MinerView(id=hotkey, hotkey=hotkey))
    view.uid = uid
    return view, {("miners", hotkey)} | bounded(state.miners, MAX_MINERS, "miners", keep=lambda it: it is view)


@on(ev.MinerDiscovered)
def _miner_discovered(state: LiveState, event: ev.MinerDiscovered) -> Touched:
    view, touched = _miner(state, event.hotkey, event.uid)
    view.endpoint = event.endpoint
    if view.state == "skipped":
        view.state, view.last_error, view.last_error_at = "discovered", "", None
    return touched


@on(ev.MinerSkipped)
def _miner_skipped(state: LiveState, event: ev.MinerSkipped) -> Touched:
    view, touched = _miner(state, event.hotkey, event.uid)
    view.state, view.endpoint = "skipped", event.endpoint
    view.last_error, view.last_error_at = event.reason, event.at
    return touched


@on(ev.MinerAnswered)
def _miner_answered(state: LiveState, event: ev.MinerAnswered) -> Touched:
    view, touched = _miner(state, event.hotkey, event.uid)
    view.state, view.dialect, view.nodes = "answered", event.dialect, event.nodes
    view.last_answer_at, view.duration_ms = event.at, event.duration_ms
    return touched


@on(ev.MinerFailed)
def _miner_failed(state: LiveState, event: ev.MinerFailed) -> Touched:
    view, touched = _miner(state, event.hotkey, event.uid)
    view.state, view.last_error_at = "failed", event.at
    view.last_error = f"{event.stage}: {event.message or event.error_code}"
    return touched


@on(ev.MinerMoved)
def _miner_moved(state: LiveState, event: ev.MinerMoved) -> Touched:
    touched: Touched = set()
    if event.hotkey != event.old_hotkey and state.miners.pop(event.old_hotkey, None) is not None:
        touched.add(("miners", event.old_hotkey))
    if event.hotkey:
        touched |= _miner(state, event.hotkey, event.uid)[1]
    return touched | _nodes_moved(state, event)


def _nodes_moved(state: LiveState, event: ev.MinerMoved) -> Touched:
    """Nodes follow their owner; those of a miner that lost its uid to a stranger are nobody's any more."""
    touched: Touched = set()
    for view in [one for one in state.verifications.values() if one.miner_hotkey == event.old_hotkey]:
        touched.add(("verifications", view.id))
        if event.hotkey != event.old_hotkey:
            del state.verifications[view.id]
        if event.hotkey:
            view.id, view.miner_hotkey = place_id(event.hotkey, view.node_id), event.hotkey
            view.miner_uid = event.uid
            state.verifications[view.id] = view
            touched.add(("verifications", view.id))
    return touched


def _verification(state: LiveState, miner_hotkey: str, node_id: str) -> tuple[VerificationView, Touched]:
    """The row of this miner's node, made when there is none."""
    place = place_id(miner_hotkey, node_id)
    view = state.verifications.get(place)
    if view is None:
        view = state.verifications[place] = VerificationView(place, node_id, miner_hotkey)
    return view, {("verifications", place)} | _make_room(state, view)


def _make_room(state: LiveState, newest: VerificationView) -> Touched:
    """Who has the most rows loses the oldest of them: nobody crowds out the nodes of others."""
    touched: Touched = set()
    rows = state.verifications
    while len(rows) > MAX_VERIFICATIONS:
        ((crowd, _),) = Counter(view.miner_hotkey for view in rows.values() if view is not newest).most_common(1)
        victim = next(key for key, view in rows.items() if view.miner_hotkey == crowd and view is not newest)
        del rows[victim]
        touched.add(("verifications", victim))
    return touched


@on(ev.VerificationRestored)
def _verification_restored(state: LiveState, event: ev.VerificationRestored) -> Touched:
    return _show_verification(state, event)[1]


@on(ev.NodeVerified)
def _node_verified(state: LiveState, event: ev.NodeVerified) -> Touched:
    view, touched = _show_verification(state, event)
    view.passed += event.ok
    view.failed += not event.ok
    state.counters["verifications"] += 1
    state.counters["verifications_failed"] += not event.ok
    return touched


def _show_verification(state: LiveState, event: ev.NodeVerified) -> tuple[VerificationView, Touched]:
    view, touched = _verification(state, event.miner_hotkey, event.node_id)
    view.miner_uid, view.endpoint = event.miner_uid, event.endpoint
    view.tier, view.at, view.duration_ms = event.tier, event.at, event.duration_ms
    view.state, view.message = ("passed", "") if event.ok else ("failed", event.message or event.error_code)
    if view.phase_tier == event.tier:
        view.phase, view.phase_tier, view.phase_reason = "", "", ""
        view.phase_since, view.progress = None, 1.0
    view.gpu_model = event.gpu_model or view.gpu_model
    view.gpu_uuids = event.gpu_uuids or view.gpu_uuids
    return view, touched


@on(ev.AccessLost)
def _access_lost(state: LiveState, event: ev.AccessLost) -> Touched:
    view, touched = _verification(state, event.miner_hotkey, event.node_id)
    view.endpoint = event.endpoint
    view.state, view.at = "access_lost", event.at
    view.message = f"our key stopped working after {event.after_s:.0f} s"
    state.counters["access_lost"] += 1
    return touched


@on(ev.VerificationQueued)
def _verification_queued(state: LiveState, event: ev.VerificationQueued) -> Touched:
    view, touched = _verification(state, event.miner_hotkey, event.node_id)
    view.miner_uid, view.endpoint = event.miner_uid, event.endpoint
    view.phase, view.phase_tier, view.phase_reason = "queued", event.tier, event.reason
    view.phase_since, view.progress = event.at, 0.0
    return touched


@on(ev.VerificationStarted)
def _verification_started(state: LiveState, event: ev.VerificationStarted) -> Touched:
    view, touched = _verification(state, event.miner_hotkey, event.node_id)
    view.phase, view.phase_tier, view.phase_since = "running", event.tier, event.at
    view.progress = 0.0
    if event.tier == "full":
        view.steps, view.steps_total = (), event.steps
    return touched


@on(ev.VerificationStepFinished)
def _step_finished(state: LiveState, event: ev.VerificationStepFinished) -> Touched:
    view, touched = _verification(state, event.miner_hotkey, event.node_id)
    line = f"{event.step} {event.verdict} {event.duration_ms:.0f} {event.evidence}"
    view.steps = (*view.steps, line)[-MAX_STEPS:]
    view.progress = min(1.0, len(view.steps) / view.steps_total) if view.steps_total else 0.0
    return touched


@on(ev.LightweightMoved)
def _lightweight_moved(state: LiveState, event: ev.LightweightMoved) -> Touched:
    view, touched = _verification(state, event.miner_hotkey, event.node_id)
    view.miner_uid, view.endpoint = event.miner_uid, event.endpoint
    phase = "queued" if event.waits else "running"
    if (view.phase, view.phase_tier) != (phase, "lightweight"):
        view.phase, view.phase_tier, view.phase_since, view.phase_reason = phase, "lightweight", event.at, ""
        view.light_steps, view.light_total = (), event.steps
    if event.step:
        line = f"{event.step} {event.verdict} {event.duration_ms:.0f} {event.evidence}"
        view.light_steps = (*view.light_steps, line)[-MAX_STEPS:]
    view.progress = min(1.0, len(view.light_steps) / event.steps) if event.steps else 0.0
    return touched


@on(ev.NodeMisbehaved)
def _node_misbehaved(state: LiveState, event: ev.NodeMisbehaved) -> Touched:
    view, touched = _verification(state, event.miner_hotkey, event.node_id)
    view.banned_until = event.banned_until
    return touched


@on(ev.RentalBegan)
def _rental_began(state: LiveState, event: ev.RentalBegan) -> Touched:
    view, touched = _verification(state, event.miner_hotkey, event.node_id)
    view.rental_id, view.rented_since = event.rental_id, event.at
    return touched


@on(ev.RentalRestored)
def _rental_restored(state: LiveState, event: ev.RentalRestored) -> Touched:
    return _rental_began(state, event)


@on(ev.RentalEnded)
def _rental_ended(state: LiveState, event: ev.RentalEnded) -> Touched:
    view, touched = _verification(state, event.miner_hotkey, event.node_id)
    view.rental_id, view.rented_since = "", None
    return touched


@on(ev.WeightsSet)
def _weights_set(state: LiveState, event: ev.WeightsSet) -> Touched:
    return _show_weights(state, event)


@on(ev.WeightsRestored)
def _weights_restored(state: LiveState, event: ev.WeightsRestored) -> Touched:
    return _show_weights(state, event)


def _show_weights(state: LiveState, event: ev.WeightsSet) -> Touched:
    engine = state.engine
    engine.weights_block, engine.weights_at, engine.weights_next_block = event.block, event.at, event.next_block
    engine.weights_uids, engine.weights_burn, engine.weights_error = event.uids, event.burn, ""
    engine.weights_profile, engine.weights_version_key = event.profile, event.version_key
    engine.weights_total, engine.weights_pools = event.total, event.pools
    rows = weight_rows(event, {view.uid: hotkey for hotkey, view in state.miners.items() if view.uid is not None})
    touched = {("weights", row_id) for row_id in (*state.weights, *rows)}
    state.weights.clear()
    state.weights.update(rows)
    return touched | {ENGINE}


def weight_rows(event: ev.WeightsSet, hotkeys: Mapping[int, str]) -> dict[str, WeightView]:
    """The rows of a vector; text that is no entry is left out."""
    rows: dict[str, WeightView] = {}
    for text in event.weights[:MAX_WEIGHTS]:
        uid, _, weight = text.partition(" ")
        if not (uid.isdigit() and weight.isdigit()):
            continue
        is_burn = int(uid) == event.burn_uid
        share = int(weight) / event.total if event.total else 0.0
        rows[uid] = WeightView(uid, int(uid), hotkeys.get(int(uid), ""), int(weight), share, is_burn=is_burn)
    for text in event.portions[: MAX_WEIGHTS * 4]:
        uid, _, rest = text.partition(" ")
        category, _, how = rest.partition(" ")
        if row := rows.get(uid):
            row.categories, row.how = (*row.categories, category), (*row.how, f"{category}: {how}")
    return rows


@on(ev.VerificationsRefused)
def _verifications_refused(state: LiveState, event: ev.VerificationsRefused) -> Touched:
    state.engine.queue_refused_at = event.at
    return {ENGINE}


@on(ev.WeightsFailed)
def _weights_failed(state: LiveState, event: ev.WeightsFailed) -> Touched:
    state.engine.weights_error = event.message or event.error_code
    return {ENGINE}


@on(ev.NodesCleanedUp)
def _nodes_cleaned_up(state: LiveState, event: ev.NodesCleanedUp) -> Touched:
    touched: Touched = set()
    for view in _named(state, event.forgotten):
        del state.verifications[view.id]
        touched.add(("verifications", view.id))
    for view in _named(state, (*event.lost_gpus, *event.offline)):
        view.gpu_uuids = ()
        touched.add(("verifications", view.id))
    return touched


def _named(state: LiveState, names: Iterable[str]) -> list[VerificationView]:
    """The rows of these places; recordings of before named the nodes alone."""
    known = state.verifications
    places = {name for name in names if name in known}
    rest = {name for name in names if name not in known}
    places |= {view.id for view in known.values() if view.node_id in rest} if rest else set()
    return [known[place] for place in places]
