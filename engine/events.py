"""What happened, said once: frozen, typed, versioned domain events and the bus that carries them.

A service emits an event and knows nothing of who listens: store, live state, metrics, alerts, consoles.
``kind`` is the stable name in the log, the database and on the control socket; fields may be added to an
event, never removed or given another meaning without a new ``version``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

Severity = Literal["debug", "info", "warning", "error"]
Scalar = str | int | float | bool | None
Value = Scalar | tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Base of all events. ``at`` is Unix seconds by the engine's wall clock."""

    kind: ClassVar[str] = "event"
    version: ClassVar[int] = 1
    severity: ClassVar[Severity] = "info"
    at: float


EventSink = Callable[[Event], None]
"""Where a service puts what happened. Never blocks, never raises."""


# --- engine ---------------------------------------------------------------------------------------------------


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
    """An action that came over the control socket, allowed or refused."""

    kind = "operator.acted"
    actor: str
    verb: str
    target: str
    outcome: str


# --- chain ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class MetagraphRead(Event):
    kind = "chain.metagraph_read"
    severity = "debug"
    netuid: int
    block: int
    neurons: int
    validators: int
    own_uid: int | None
    own_stake_tao: float | None = None
    own_incentive: float | None = None
    own_emission: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainFailed(Event):
    """A chain read or call failed; ``metagraph_age_s`` is the age of the data that still serves."""

    kind = "chain.failed"
    severity = "warning"
    operation: str
    error: str
    metagraph_age_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AxonChecked(Event):
    """What the chain advertises against what we bind and want to advertise; all as ``ip:port`` or empty."""

    kind = "axon.checked"
    severity = "debug"
    on_chain: str
    bound: str
    advertised: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AxonServed(Event):
    kind = "axon.served"
    endpoint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AssignmentChanged(Event):
    """Which validator may use the nodes; empty hotkey with strategy ``open`` means every permitted one."""

    kind = "assignment.changed"
    strategy: str
    validator_hotkey: str
    uid: int | None
    stake_tao: float | None
    reason: str


# --- the miner's door -----------------------------------------------------------------------------------------


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


# --- grants ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantWritten(Event):
    """A grant row exists; nothing has been done on the node yet."""

    kind = "grant.written"
    severity = "debug"
    grant_id: str
    node_id: str
    validator_hotkey: str
    key_fingerprint: str
    expires_at: float
    renewed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantRestored(Event):
    """A grant of an earlier run that is still open; ``is_in_place`` is what that run last read on the node."""

    kind = "grant.restored"
    severity = "debug"
    grant_id: str
    node_id: str
    validator_hotkey: str
    expires_at: float
    is_in_place: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantEnded(Event):
    kind = "grant.ended"
    grant_id: str
    node_id: str
    validator_hotkey: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyDeployed(Event):
    """The key line was read back from the node: it is there exactly once."""

    kind = "key.deployed"
    grant_id: str
    node_id: str
    validator_hotkey: str
    expires_at: float
    expiry_form: str
    renewed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRemoved(Event):
    """The key line was read back from the node: it is gone."""

    kind = "key.removed"
    grant_id: str
    node_id: str
    validator_hotkey: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFailed(Event):
    kind = "key.failed"
    severity = "error"
    node_id: str
    operation: str
    error_code: str
    message: str
    hint: str
    retry_in_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignKeysSeen(Event):
    """Lines in a node's authorized_keys that are not ours, by count; ``unmanaged`` are tags of other miners."""

    kind = "key.foreign_seen"
    severity = "debug"
    node_id: str
    operator_keys: int
    leftovers: int
    orphans: int


# --- fleet ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeAdded(Event):
    kind = "node.added"
    severity = "debug"
    node_id: str
    label: str
    host: str
    port: int
    username: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRemoved(Event):
    kind = "node.removed"
    node_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeChecked(Event):
    """One health check. GPU facts are those of the check; absent (None or empty) when they could not be had."""

    kind = "node.checked"
    severity = "debug"
    node_id: str
    ok: bool
    latency_ms: float
    error_code: str = ""
    message: str = ""
    hint: str = ""
    gpu_model: str = ""
    gpu_count: int | None = None
    gpu_memory_mib: int | None = None
    gpu_uuids: tuple[str, ...] = ()
    driver: str = ""
    cuda: str = ""
    utilisation_percent: float | None = None
    temperature_c: float | None = None
    sshd_version: str = ""
    host_key_fingerprint: str = ""
    clock_skew_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeStateChanged(Event):
    kind = "node.state_changed"
    severity = "warning"
    node_id: str
    old: str
    new: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HostKeyPinned(Event):
    kind = "node.host_key_pinned"
    node_id: str
    fingerprint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HostKeyChanged(Event):
    kind = "node.host_key_changed"
    severity = "error"
    node_id: str
    pinned: str
    presented: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HostKeyAccepted(Event):
    kind = "node.host_key_accepted"
    severity = "warning"
    node_id: str
    fingerprint: str
    actor: str


# --- alerts ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertRaised(Event):
    kind = "alert.raised"
    severity = "warning"
    alert_id: str
    level: str
    subject: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertCleared(Event):
    kind = "alert.cleared"
    alert_id: str


# --- validator role -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class MinerDiscovered(Event):
    kind = "miner.discovered"
    severity = "debug"
    hotkey: str
    uid: int
    endpoint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MinerAnswered(Event):
    """A miner authenticated to us and named its nodes."""

    kind = "miner.answered"
    hotkey: str
    uid: int
    dialect: str
    nodes: int
    duration_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MinerFailed(Event):
    kind = "miner.failed"
    severity = "warning"
    hotkey: str
    uid: int
    stage: str
    error_code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeVerified(Event):
    """One verification of a miner's node, passed or not."""

    kind = "verification.finished"
    verification_id: str
    miner_hotkey: str
    miner_uid: int
    node_id: str
    endpoint: str
    tier: str
    ok: bool
    duration_ms: float
    gpu_model: str = ""
    gpu_uuids: tuple[str, ...] = ()
    error_code: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationRestored(NodeVerified):
    """The last verification of a node by an earlier run."""

    kind = "verification.restored"
    severity = "debug"


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessLost(Event):
    """A node that the validator's key opened before now refuses it, although its miner offers the node."""

    kind = "verification.access_lost"
    severity = "warning"
    miner_hotkey: str
    node_id: str
    endpoint: str
    after_s: float


# --- records --------------------------------------------------------------------------------------------------


def _leaves(cls: type[Event]) -> list[type[Event]]:
    found = []
    for sub in cls.__subclasses__():
        found += [sub, *_leaves(sub)]
    return found


KINDS: Mapping[str, type[Event]] = {cls.kind: cls for cls in _leaves(Event)}
"""Every event class by its ``kind``."""


def event_to_record(event: Event) -> dict[str, Value]:
    """The event as plain JSON values, with ``kind``, ``version`` and ``severity`` beside its own fields."""
    record: dict[str, Value] = {"kind": event.kind, "version": event.version, "severity": event.severity}
    for field in dataclasses.fields(event):
        record[field.name] = getattr(event, field.name)
    return record


def event_from_record(record: Mapping[str, object]) -> Event | None:
    """The event that ``event_to_record`` wrote; None for a kind that this version does not know.

    Fields that this version does not know are dropped, so that an older program reads a newer recording.
    """
    cls = KINDS.get(str(record.get("kind")))
    if cls is None:
        return None
    values: dict[str, object] = {}
    for field in dataclasses.fields(cls):
        if field.name in record:
            value = record[field.name]
            values[field.name] = tuple(value) if isinstance(value, list) else value
    try:
        return cls(**values)  # type: ignore[arg-type]  # values come from JSON; a wrong shape is a TypeError below
    except TypeError:
        return None


class EventBus:
    """Hands each event to every listener at once, in the order of subscription.

    Listeners must return quickly and must not raise: they queue what takes time.
    """

    def __init__(self) -> None:
        self._listeners: list[EventSink] = []

    def subscribe(self, listener: EventSink) -> Callable[[], None]:
        """Add a listener; the returned function removes it."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def emit(self, event: Event) -> None:
        """Tell everybody."""
        for listener in tuple(self._listeners):
            listener(event)
