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
    disk_free_bytes: int | None = None
    compute_capability: str = ""
    ecc_errors: int | None = None
    ssh_success_percent: float | None = None
    """Of the logins within the success window."""
    latency_mean_ms: float | None = None
    latency_p95_ms: float | None = None
    next_check_at: float | None = None
    """None when only an operator can ask for the next check."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeInspected(Event):
    """What a node told about itself besides GPUs, asked less often. None and empty are "not known"."""

    kind = "node.inspected"
    severity = "debug"
    node_id: str
    cuda: str = ""
    docker_ok: bool | None = None
    docker_version: str = ""
    docker_error: str = ""
    nvidia_runtime_ok: bool | None = None
    disk_path: str = ""
    disk_free_bytes: int | None = None
    disk_total_bytes: int | None = None
    clock_skew_s: float | None = None
    sshd_password_login: bool | None = None
    sshd_keyboard_login: bool | None = None
    sshd_root_login: str = ""
    sshd_max_startups: str = ""
    sshd_max_sessions: int | None = None
    sshd_tcp_forwarding: str = ""
    gpus: tuple[str, ...] = ()
    """One JSON object per GPU with the fields of ``GpuView``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeWarned(Event):
    """The complete list of what is not right on a node that answers; emitted when it changes."""

    kind = "node.warned"
    severity = "debug"
    node_id: str
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeDrifted(Event):
    """A fact of a node is not what it was at the last good check. ``what``: driver, cuda, gpu_model, gpu_count,
    gpu_uuids."""

    kind = "node.drifted"
    severity = "warning"
    node_id: str
    what: str
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicateGpuSeen(Event):
    """One GPU is shown by several nodes."""

    kind = "node.duplicate_gpu_seen"
    severity = "error"
    gpu_uuid: str
    node_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicateGpuGone(Event):
    """A GPU that several nodes showed is shown by one at most again."""

    kind = "node.duplicate_gpu_gone"
    gpu_uuid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RampEstimated(Event):
    """The miner's own estimate of a node's ramp; never what a validator said."""

    kind = "node.ramp_estimated"
    severity = "debug"
    node_id: str
    validator_hotkey: str
    minutes: int
    percent: float
    since: float | None
    full_at: float | None
    next_full_at: float | None
    quiet_until: float | None
    estimated_score: float | None
    resets: tuple[str, ...]
    """The last ones, oldest first: Unix seconds, minutes lost and the cause, separated by blanks."""
    resets_total: int
    failure_cost_gpus: float
    """Effective GPUs that a failure now would take."""
    failure_cost_percent: float
    """The same as part of this miner's effective GPUs of the category."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RampReset(Event):
    """A run of successes ended, by the estimate."""

    kind = "node.ramp_reset"
    severity = "warning"
    node_id: str
    cause: str
    minutes_lost: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeObserved(Event):
    """What a validator publishes about a node. None and empty are "it does not say"."""

    kind = "observed.node"
    severity = "debug"
    node_id: str
    source: str
    uptime_minutes: float | None = None
    multiplier: float | None = None
    status: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservationRead(Event):
    """A validator's metrics or REST API was read; ``nodes`` of ours were in it."""

    kind = "observed.read"
    severity = "debug"
    source: str
    url: str
    nodes: int
    miner_score: float | None = None
    miner_status: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservationFailed(Event):
    kind = "observed.failed"
    severity = "warning"
    source: str
    url: str
    error: str


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


# --- audit ----------------------------------------------------------------------------------------------------


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


# --- access, watched ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeEnrolled(Event):
    """What a node can do for grants, measured now; ``refusal`` is why no new key is deployed there, or empty."""

    kind = "node.enrolled"
    severity = "debug"
    node_id: str
    sshd_version: str
    expiry_form: str
    expiry_enforced: str
    clock_skew_s: float
    tools: tuple[str, ...] = ()
    key_file: str = ""
    key_file_mode: str = ""
    can_wrap: bool = False
    refusal: str = ""
    message: str = ""
    canary: bool = False
    """Whether the key file was touched for it: two throw-away lines, in and out again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockSkewSeen(Event):
    """A node's clock went wrong, or right again: ``level`` is ok, warning (over 5 s) or refused (over 300 s)."""

    kind = "node.clock_skew"
    severity = "warning"
    node_id: str
    skew_s: float
    level: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftSeen(Event):
    """Key lines that are neither the operator's baseline nor ours; ``count`` 0 when there are none any more."""

    kind = "key.drift"
    severity = "warning"
    node_id: str
    count: int
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineAccepted(Event):
    """The operator took key lines of a node for their own; ``first`` when a node was read for the first time."""

    kind = "key.baseline_accepted"
    node_id: str
    keys: int
    first: bool
    fingerprints: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignKeyRemoved(Event):
    """A line that is not a grant's was removed on the operator's word."""

    kind = "key.foreign_removed"
    severity = "warning"
    node_id: str
    fingerprint: str
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftoversAdopted(Event):
    """Lines that a deployed miner left were removed."""

    kind = "key.leftovers_removed"
    node_id: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionProcessesEnded(Event):
    """What was still running under an ended grant was ended; ``left`` processes did not go."""

    kind = "session.processes_ended"
    severity = "warning"
    node_id: str
    grant_id: str
    validator_hotkey: str
    processes: int
    logins: int
    left: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveSessionsSeen(Event):
    """Open connections of a node's account: those of living grants, and others that cannot be attributed."""

    kind = "node.live_sessions"
    severity = "debug"
    node_id: str
    of_grants: int
    others: int
    oldest_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeKeyRotated(Event):
    """A step in the change of the miner's own node key: started, deployed, switched, cleaned,
    waiting, finished, abandoned."""

    kind = "node_key.rotated"
    step: str
    old_fingerprint: str
    new_fingerprint: str
    node_id: str = ""
    message: str = ""


# --- full verification and weights ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationQueued(Event):
    """A verification is due; ``reason`` is the rule that chose its tier."""

    kind = "verification.queued"
    severity = "debug"
    miner_hotkey: str
    miner_uid: int
    node_id: str
    endpoint: str
    tier: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationStarted(Event):
    """A verification left the queue; ``steps`` is how many it has."""

    kind = "verification.started"
    severity = "debug"
    verification_id: str
    miner_hotkey: str
    miner_uid: int
    node_id: str
    endpoint: str
    tier: str
    steps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationStepFinished(Event):
    """One step of a full verification; ``verdict`` is ok, failed, skipped or impossible."""

    kind = "verification.step_finished"
    severity = "debug"
    verification_id: str
    miner_hotkey: str
    node_id: str
    step: str
    verdict: str
    evidence: str
    duration_ms: float
    position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeMisbehaved(Event):
    """A node did what an honest one does not; ``banned_until`` is set when that adds up to a ban."""

    kind = "verification.misbehaved"
    severity = "warning"
    miner_hotkey: str
    node_id: str
    reason: str
    details: str
    banned_until: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodesCleanedUp(Event):
    """Failing nodes lost their GPUs, went offline or were forgotten; a forgotten node begins its ramp anew."""

    kind = "verification.cleaned_up"
    lost_gpus: tuple[str, ...]
    offline: tuple[str, ...]
    forgotten: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsSet(Event):
    """The chain took a weight vector; ``uids`` and ``burn`` describe it, the store has all of it."""

    kind = "weights.set"
    block: int
    profile: str
    version_key: int
    uids: int
    burn: int
    total: int
    next_block: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsFailed(Event):
    """A weight vector could not be made or set."""

    kind = "weights.failed"
    severity = "error"
    block: int
    error_code: str
    message: str
    retry_in_s: float


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
