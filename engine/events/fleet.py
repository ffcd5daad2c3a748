"""The miner's nodes: checks, facts, states, host keys, the ramp."""

from __future__ import annotations

from dataclasses import dataclass

from engine.events.base import Event


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
class NodeDrained(Event):
    """The operator took a node out of service; ``restored`` says it again after a restart."""

    kind = "node.drained"
    severity = "warning"
    node_id: str
    since: float
    restored: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeEnabled(Event):
    """The operator took a node back into service."""

    kind = "node.enabled"
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
    doubts: tuple[str, ...] = ()
    """Those of them that say why the GPUs may not be what they seem."""


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
