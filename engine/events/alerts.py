"""Alerts, from raised to delivered."""

from __future__ import annotations

from dataclasses import dataclass

from engine.events.base import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertRaised(Event):
    """``subject`` is a node id, a hotkey, a service or empty; one id per episode, so that history stays."""

    kind = "alert.raised"
    severity = "warning"
    alert_id: str
    level: str
    subject: str
    message: str
    hint: str
    rule: str = ""
    impact: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertCleared(Event):
    kind = "alert.cleared"
    alert_id: str
    rule: str = ""
    subject: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertRestored(Event):
    """An alert of an earlier run, active or past."""

    kind = "alert.restored"
    severity = "debug"
    alert_id: str
    rule: str
    level: str
    subject: str
    message: str
    impact: str
    hint: str
    began_at: float
    ended_at: float | None
    acknowledged_at: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertAcknowledged(Event):
    kind = "alert.acknowledged"
    alert_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertSilenced(Event):
    """Alerts of this rule and subject are not told until then; an empty subject means every one of the rule."""

    kind = "alert.silenced"
    rule: str
    subject: str
    until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertMuted(Event):
    """An active alert is not told (``by``: "silence", "drain") or, when ``by`` is empty, is told again."""

    kind = "alert.muted"
    severity = "debug"
    alert_id: str
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertDelivered(Event):
    kind = "alert.delivered"
    severity = "debug"
    target: str
    alerts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertDeliveryFailed(Event):
    """A message was given up after its last attempt; ``target`` names the way without its secrets."""

    kind = "alert.delivery_failed"
    severity = "warning"
    target: str
    error: str
    alerts: int
