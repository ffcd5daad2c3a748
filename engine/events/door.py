"""The miner's door: who authenticated, who was refused, sessions."""

from __future__ import annotations

from dataclasses import dataclass

from engine.events.base import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidatorAuthenticated(Event):
    kind = "door.authenticated"
    validator_hotkey: str
    uid: int | None
    stake_tao: float | None
    dialect: str
    peer: str
    expires_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRefused(Event):
    """An authentication or discovery that was answered with an error status."""

    kind = "door.refused"
    severity = "warning"
    call: str
    validator_hotkey: str
    dialect: str
    peer: str
    status: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscoveryAnswered(Event):
    kind = "door.discovery_answered"
    validator_hotkey: str
    dialect: str
    peer: str
    assigned: bool
    nodes_ready: int
    nodes_failed: int
    duration_ms: float
    key_fingerprint: str
    access_until: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidatorKeyChanged(Event):
    kind = "door.validator_key_changed"
    severity = "warning"
    validator_hotkey: str
    old_fingerprint: str
    new_fingerprint: str
    is_signed: bool = False
    """The hotkey has signed for the new key (dialect B): nobody in between can have swapped it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionEnded(Event):
    """A validator's access is over on all nodes that can be reached."""

    kind = "session.ended"
    validator_hotkey: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRestored(Event):
    """A session of an earlier run that has not ended."""

    kind = "session.restored"
    severity = "debug"
    validator_hotkey: str
    uid: int | None
    stake_tao: float | None
    dialect: str
    peer: str
    authenticated_at: float
    token_expires_at: float
    last_discovery_at: float | None
    access_until: float | None
    nodes_ready: int
    nodes_failed: int
    key_fingerprint: str
