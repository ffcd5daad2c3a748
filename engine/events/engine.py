"""The engine itself: its start and end, services, operators, configuration, the audit log."""

from __future__ import annotations

from dataclasses import dataclass

from engine.events.base import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStarted(Event):
    kind = "engine.started"
    role: str
    name: str
    build: str
    hotkey: str
    network: str
    netuid: int
    compressed_time: bool = False
    full_slots: int = 0
    miner_slots: int = 0
    """Validator: full verifications at once, and miners at once in a round."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStopping(Event):
    kind = "engine.stopping"
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceStarted(Event):
    kind = "service.started"
    severity = "debug"
    service: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceCrashed(Event):
    kind = "service.crashed"
    severity = "error"
    service: str
    error: str
    retry_in_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceStopped(Event):
    kind = "service.stopped"
    severity = "debug"
    service: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorActed(Event):
    """An action that came over the control socket or the REST API, allowed or refused."""

    kind = "operator.acted"
    actor: str
    verb: str
    target: str
    outcome: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigReloaded(Event):
    """The configuration file was read again; ``restart_needed`` are changed keys that wait for a restart."""

    kind = "config.reloaded"
    actor: str
    applied: tuple[str, ...]
    restart_needed: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigRefused(Event):
    """The configuration file cannot be used; the engine goes on with what it has."""

    kind = "config.refused"
    severity = "error"
    actor: str
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditAnchored(Event):
    """Where the audit chain ends now. Kept outside the chain, it shows that a tail was cut off."""

    kind = "audit.anchored"
    seq: int
    head: str
    records: int
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditBroken(Event):
    """The audit log is not what an earlier run left behind."""

    kind = "audit.broken"
    severity = "error"
    seq: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingHalted(Event):
    """What happens is not written down any more; the engine goes on."""

    kind = "recording.halted"
    severity = "warning"
    reason: str
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingResumed(Event):
    """It is written down again; ``lost`` events since the engine started are not on record."""

    kind = "recording.resumed"
    lost: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingMeasured(Event):
    """How large the recording is, and when it begins."""

    kind = "recording.measured"
    severity = "debug"
    bytes: int
    segments: int
    oldest_at: float | None
    lost: int
