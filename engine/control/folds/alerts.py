"""Folding rules: alerts, active and past."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine import events as ev
from engine.control.folds.common import ENGINE, bounded, on
from engine.control.models import AlertView
from engine.control.remedies import fix_for

if TYPE_CHECKING:
    from engine.control.state import LiveState, Touched

MAX_ALERTS = 500


@on(ev.AlertRaised)
def _alert_raised(state: LiveState, event: ev.AlertRaised) -> Touched:
    known = state.alerts.get(event.alert_id)
    if known is None or not known.active:
        # Taken out first, so that one that comes back is the youngest again.
        state.alerts.pop(event.alert_id, None)
        known = state.alerts[event.alert_id] = AlertView(id=event.alert_id, began_at=event.at)
    known.level, known.subject, known.message, known.hint = event.level, event.subject, event.message, event.hint
    known.rule, known.impact = event.rule, event.impact
    _link(known)
    dropped = bounded(state.alerts, MAX_ALERTS, "alerts", keep=lambda alert: alert.active)
    return {("alerts", event.alert_id)} | dropped


@on(ev.AlertCleared)
def _alert_cleared(state: LiveState, event: ev.AlertCleared) -> Touched:
    view = state.alerts.get(event.alert_id)
    if view is None or not view.active:
        return set()
    view.active, view.ended_at = False, event.at
    view.duration_s = None if view.began_at is None else max(0.0, event.at - view.began_at)
    return {("alerts", event.alert_id)}


@on(ev.AlertRestored)
def _alert_restored(state: LiveState, event: ev.AlertRestored) -> Touched:
    ended_at = event.ended_at
    state.alerts[event.alert_id] = AlertView(
        id=event.alert_id,
        level=event.level,
        subject=event.subject,
        message=event.message,
        hint=event.hint,
        active=ended_at is None,
        began_at=event.began_at,
        ended_at=ended_at,
        acknowledged=event.acknowledged_at is not None,
        rule=event.rule,
        impact=event.impact,
        duration_s=None if ended_at is None else max(0.0, ended_at - event.began_at),
        acknowledged_at=event.acknowledged_at,
    )
    _link(state.alerts[event.alert_id])
    return {("alerts", event.alert_id)}


def _link(view: AlertView) -> None:
    remedy = fix_for(view.rule)
    if remedy is not None:
        view.check, view.fix = remedy.check, remedy.fix


@on(ev.AlertAcknowledged)
def _alert_acknowledged(state: LiveState, event: ev.AlertAcknowledged) -> Touched:
    view = state.alerts.get(event.alert_id)
    if view is None:
        return set()
    view.acknowledged, view.acknowledged_at = True, event.at
    return {("alerts", event.alert_id)}


@on(ev.AlertSilenced)
def _alert_silenced(state: LiveState, event: ev.AlertSilenced) -> Touched:
    touched: Touched = set()
    for view in state.alerts.values():
        if view.active and view.rule == event.rule and event.subject in ("", view.subject):
            view.silenced_until = event.until if event.until > event.at else None
            touched.add(("alerts", view.id))
    return touched


@on(ev.AlertMuted)
def _alert_muted(state: LiveState, event: ev.AlertMuted) -> Touched:
    view = state.alerts.get(event.alert_id)
    if view is None:
        return set()
    view.muted = event.by
    return {("alerts", event.alert_id)}


@on(ev.AlertDelivered)
def _alert_delivered(state: LiveState, event: ev.AlertDelivered) -> Touched:
    if not state.engine.delivery_error.startswith(f"{event.target}: "):
        return set()
    state.engine.delivery_error = ""
    return {ENGINE}


@on(ev.AlertDeliveryFailed)
def _alert_delivery_failed(state: LiveState, event: ev.AlertDeliveryFailed) -> Touched:
    state.engine.delivery_error = f"{event.target}: {event.error}"
    return {ENGINE}
