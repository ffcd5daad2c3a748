"""Read models: what a console may know about an engine. Flat, JSON-friendly, tolerant of unknown fields.

Every view has an ``id``. Times are Unix seconds, percentages 0..100, stake and emission in TAO, None is
"not known". Text in here may come from other machines: whoever draws it must treat it as hostile.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, TypeVar


@dataclass(slots=True)
class EngineView:
    """The engine itself; one per engine, id ``engine``."""

    collection: ClassVar[str] = "engine"
    id: str = "engine"
    role: str = ""
    name: str = ""
    build: str = ""
    hotkey: str = ""
    network: str = ""
    netuid: int = 0
    uid: int | None = None
    stake_tao: float | None = None
    incentive: float | None = None
    emission: float | None = None
    own_weights: tuple[str, ...] = ()
    """What each validator's vector on chain gives this miner: "uid N hotkey share", highest stake first."""
    own_weight: float | None = None
    """Their mean weighted by stake, 0 to 1; None: no vector was read."""
    own_weights_at: float | None = None
    started_at: float | None = None
    stopping: bool = False
    compressed_time: bool = False
    full_slots: int = 0
    miner_slots: int = 0
    """Validator: full verifications at once, and miners that a round visits at once; 0: not told."""
    block: int | None = None
    metagraph_at: float | None = None
    chain_error: str = ""
    axon_on_chain: str = ""
    axon_bound: str = ""
    axon_advertised: str = ""
    reach: str = ""
    """What a node says that called the advertised address: open, refused, timeout, unproven; empty before."""
    reach_peer: str = ""
    reach_at: float | None = None
    reach_detail: str = ""
    strategy: str = ""
    assigned_hotkey: str = ""
    assigned_uid: int | None = None
    assigned_stake_tao: float | None = None
    assigned_reason: str = ""
    assigned_since: float | None = None
    last_called_at: float | None = None
    last_called_by: str = ""
    observed_metrics: str = ""
    """"" when not configured, "ok", or why it is not reachable."""
    observed_metrics_at: float | None = None
    observed_rest: str = ""
    observed_rest_at: float | None = None
    observed_score: float | None = None
    observed_status: str = ""
    config_note: str = ""
    """What the operator should know about the configuration since its last reading; empty when it is in force."""
    audit_seq: int | None = None
    audit_bytes: int | None = None
    audit_error: str = ""
    delivery_error: str = ""
    weights_block: int | None = None
    weights_at: float | None = None
    weights_next_block: int | None = None
    weights_uids: int = 0
    weights_burn: int = 0
    weights_error: str = ""
    queue_refused_at: float | None = None
    """When nodes last found no room in the queue of full verifications."""
    weights_profile: str = ""
    weights_version_key: int | None = None
    weights_total: int = 0
    weights_pools: tuple[str, ...] = ()
    """One sentence per category: what it had to give and who got it."""
    node_key_rotation: str = ""
    """How far the change of the miner's own node key is; empty when none is under way."""
    recording_bytes: int | None = None
    recording_oldest_at: float | None = None
    recording_lost: int = 0
    """Events since the engine started that are not on record."""
    recording_error: str = ""
    """Why nothing is recorded now; empty while it is."""


@dataclass(slots=True)
class NodeView:
    """One GPU node. ``state``: unknown, healthy, suspect, unhealthy, stopped (host key changed)."""

    collection: ClassVar[str] = "nodes"
    id: str
    label: str = ""
    host: str = ""
    port: int = 22
    username: str = ""
    state: str = "unknown"
    reason: str = ""
    hint: str = ""
    drained_since: float | None = None
    """Out of service by the operator's word: checked, but not handed out."""
    gpu_model: str = ""
    gpu_count: int | None = None
    gpu_memory_mib: int | None = None
    gpu_uuids: tuple[str, ...] = ()
    driver: str = ""
    cuda: str = ""
    utilisation_percent: float | None = None
    temperature_c: float | None = None
    memory_percent: float | None = None
    """Of all its GPUs together, in use at the last inspection."""
    recent_load: tuple[int, ...] = ()
    """GPU utilisation at the last 24 checks, oldest first; -1 where it could not be had."""
    sshd_version: str = ""
    clock_skew_s: float | None = None
    disk_free_bytes: int | None = None
    disk_total_bytes: int | None = None
    disk_path: str = ""
    compute_capability: str = ""
    ecc_errors: int | None = None
    gpus: tuple[str, ...] = ()
    """One JSON object per GPU; see ``gpus_of``."""
    docker_ok: bool | None = None
    docker_version: str = ""
    docker_error: str = ""
    nvidia_runtime_ok: bool | None = None
    sshd_password_login: bool | None = None
    sshd_root_login: str = ""
    sshd_max_startups: str = ""
    sshd_max_sessions: int | None = None
    inspected_at: float | None = None
    warnings: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    """Those warnings that say why its GPUs may not be what they seem."""
    shared_gpus: tuple[str, ...] = ()
    """UUIDs that another node shows too."""
    last_drift: str = ""
    last_drift_at: float | None = None
    ssh_success_percent: float | None = None
    latency_ms: float | None = None
    latency_mean_ms: float | None = None
    latency_p95_ms: float | None = None
    next_check_at: float | None = None
    ramp_validator: str = ""
    ramp_days: float | None = None
    """Estimate: days of unbroken success, by the rules of the validator that counts now."""
    ramp_percent: float | None = None
    ramp_since: float | None = None
    ramp_resets: tuple[str, ...] = ()
    """The last ones, oldest first: Unix seconds, minutes lost and the cause, separated by blanks."""
    ramp_resets_total: int = 0
    full_at: float | None = None
    next_full_at: float | None = None
    """Estimate: when the next full validation is due; work on the node before it misses it."""
    quiet_until: float | None = None
    estimated_score: float | None = None
    """0 to 1."""
    failure_cost_gpus: float | None = None
    failure_cost_percent: float | None = None
    observed_uptime_minutes: float | None = None
    observed_multiplier: float | None = None
    observed_status: str = ""
    observed_at: float | None = None
    checks_total: int = 0
    checks_ok: int = 0
    recent_checks: tuple[int, ...] = ()
    """The last 60 checks, oldest first: 1 passed, 0 failed."""
    last_check_at: float | None = None
    last_trouble: str = ""
    last_trouble_at: float | None = None
    keys_wanted: int = 0
    keys_in_place: int = 0
    key_error: str = ""
    operator_keys: int | None = None
    leftovers: int = 0
    orphans: int = 0
    host_key_fingerprint: str = ""
    host_key_presented: str = ""
    expiry_enforced: str = ""
    """Whether sshd there ends a key by itself: "proved" by a canary, "assumed", or "removal only"; empty: not known."""
    capability_json: str = ""
    """What the node can do for grants, as one JSON object."""
    keys: tuple[str, ...] = ()
    """Every key line as last read, one JSON object each: kind, holder, fingerprint, since, until and so on."""
    drift: int = 0
    """Key lines that are neither the operator's baseline nor ours."""
    drift_lines: tuple[str, ...] = ()
    """Fingerprint, kind and comment of each, at most twenty."""
    live_sessions: int | None = None
    """Open connections of the account that belong to no living grant as far as can be told: anybody's."""
    live_sessions_oldest_s: float | None = None
    live_sessions_of_grants: int | None = None
    processes_ended: int = 0
    """Processes that were ended because their grant was over."""
    baseline_keys: int | None = None
    """Key lines that the operator has accepted as their own."""
    key_note: str = ""
    """What was last done to lines that are no grant's, on the operator's word."""


@dataclass(slots=True)
class SessionView:
    """One validator's access, id = its hotkey. ``state``: authenticated, active, ended."""

    collection: ClassVar[str] = "sessions"
    id: str
    hotkey: str = ""
    uid: int | None = None
    stake_tao: float | None = None
    state: str = "authenticated"
    dialect: str = ""
    peer: str = ""
    authenticated_at: float | None = None
    last_discovery_at: float | None = None
    token_expires_at: float | None = None
    access_until: float | None = None
    assigned: bool = False
    nodes_ready: int = 0
    nodes_failed: int = 0
    key_fingerprint: str = ""
    ended_at: float | None = None
    end_reason: str = ""
    certified_until: float | None = None
    """It was given SSH certificates that end then; None for a validator that enters with its key."""


@dataclass(slots=True)
class ServiceView:
    """One supervised service, id = its name. ``state``: running, restarting, stopped."""

    collection: ClassVar[str] = "services"
    id: str
    state: str = "running"
    since: float | None = None
    restarts: int = 0
    last_error: str = ""
    retry_at: float | None = None


@dataclass(slots=True)
class AlertView:
    """One episode of an alert, active or past; ``rule`` and ``subject`` together name what it is about."""

    collection: ClassVar[str] = "alerts"
    id: str
    level: str = "warning"
    subject: str = ""
    message: str = ""
    hint: str = ""
    active: bool = True
    began_at: float | None = None
    ended_at: float | None = None
    acknowledged: bool = False
    rule: str = ""
    impact: str = ""
    duration_s: float | None = None
    acknowledged_at: float | None = None
    silenced_until: float | None = None
    muted: str = ""
    """Why nobody is told: "silence", or "drain" for a node that is out of service."""
    check: str = ""
    """The doctor's check that explains it, and the fix that may repair it; empty where there is none."""
    fix: str = ""


@dataclass(slots=True)
class MinerView:
    """Validator role: one miner on chain, id = its hotkey. ``state``: discovered, answered, failed, or skipped: a
    neuron that is not called, with the reason in ``last_error``."""

    collection: ClassVar[str] = "miners"
    id: str
    hotkey: str = ""
    uid: int | None = None
    endpoint: str = ""
    state: str = "discovered"
    dialect: str = ""
    nodes: int = 0
    last_answer_at: float | None = None
    last_error: str = ""
    last_error_at: float | None = None
    duration_ms: float | None = None

    @property
    def is_called(self) -> bool:
        """Whether rounds visit it."""
        return self.state != "skipped"


@dataclass(slots=True)
class VerificationView:
    """Validator role: the latest verification of one node of one miner, id = ``place_id``: miners choose the ids of
    their nodes, so two of them may offer the same."""

    collection: ClassVar[str] = "verifications"
    id: str
    node_id: str = ""
    miner_hotkey: str = ""
    miner_uid: int | None = None
    endpoint: str = ""
    tier: str = ""
    state: str = ""
    gpu_model: str = ""
    gpu_uuids: tuple[str, ...] = ()
    duration_ms: float | None = None
    at: float | None = None
    message: str = ""
    passed: int = 0
    failed: int = 0
    phase: str = ""
    """queued or running; empty while nothing is due."""
    phase_tier: str = ""
    phase_since: float | None = None
    phase_reason: str = ""
    progress: float = 0.0
    """0 to 1, of the verification that runs or ran last."""
    steps_total: int = 0
    steps: tuple[str, ...] = ()
    """Of the newest full verification: step, verdict, milliseconds and evidence, separated by blanks."""
    light_total: int = 0
    light_steps: tuple[str, ...] = ()
    """The same of the newest lightweight check. These are shown while they hold and stand in no recording."""
    banned_until: float | None = None
    rental_id: str = ""
    """Empty while nobody has rented it."""
    rented_since: float | None = None

    def __post_init__(self) -> None:
        # Engines and recordings of before named the row after the node alone.
        self.node_id = self.node_id or self.id


def place_id(miner_hotkey: str, node_id: str) -> str:
    """How a miner's node is named among all nodes that a validator verifies. A hotkey has no slash."""
    return f"{miner_hotkey}/{node_id}"


@dataclass(slots=True)
class WeightView:
    """Validator role: one uid of the vector in force, id = the uid as text."""

    collection: ClassVar[str] = "weights"
    id: str
    uid: int = 0
    hotkey: str = ""
    """Empty while the miner with that uid is not known, and for the burn."""
    weight: int = 0
    share: float = 0.0
    """0 to 1 of the vector's sum."""
    categories: tuple[str, ...] = ()
    how: tuple[str, ...] = ()
    """For each category how its part came about."""
    is_burn: bool = False


HOST_ID = "host"
"""Id of what the doctor found about the engine's own host."""


@dataclass(slots=True)
class DiagnosisView:
    """The doctor's last examination of one node, id = the node id, or of this host, id ``host``."""

    collection: ClassVar[str] = "diagnoses"
    id: str
    running: bool = False
    at: float | None = None
    ok: int = 0
    warnings: int = 0
    failed: int = 0
    skipped: int = 0
    rungs: tuple[str, ...] = ()
    """JSON objects of ``RungView``'s fields; see ``rungs_of``."""
    last_fix: str = ""
    last_fix_at: float | None = None


@dataclass(frozen=True, slots=True)
class RungView:
    """One check. ``verdict``: ok, warning, failed or skipped; ``cause`` and ``fixes`` are ids of the doctor."""

    check: str = ""
    title: str = ""
    verdict: str = ""
    cause: str = ""
    cause_words: str = ""
    evidence: str = ""
    meaning: str = ""
    fixes: str = ""
    """Separated by blanks, the best first."""
    advice: str = ""
    reason: str = ""


def rungs_of(view: DiagnosisView) -> tuple[RungView, ...]:
    """The checks of an examination, in the order of the ladder; text that is no such object is left out."""
    names = {f.name for f in dataclasses.fields(RungView)}
    found = []
    for text in view.rungs:
        try:
            values = json.loads(text)
        except ValueError:
            continue
        if isinstance(values, dict):
            found.append(RungView(**{k: str(v) for k, v in values.items() if k in names}))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class GpuView:
    """One GPU of a node, as its last inspection saw it."""

    index: int = 0
    uuid: str = ""
    model: str = ""
    pci_id: str = ""
    compute_capability: str = ""
    memory_mib: int | None = None
    memory_used_mib: int | None = None
    utilisation_percent: float | None = None
    temperature_c: float | None = None
    power_w: float | None = None
    power_limit_w: float | None = None
    sm_clock_mhz: int | None = None
    memory_clock_mhz: int | None = None
    ecc_errors: int | None = None


def gpus_of(node: NodeView) -> tuple[GpuView, ...]:
    """The node's GPUs; text that is no such object is left out."""
    names = {f.name for f in dataclasses.fields(GpuView)}
    found = []
    for text in node.gpus:
        try:
            values = json.loads(text)
        except ValueError:
            continue
        if isinstance(values, dict):
            found.append(GpuView(**{k: v for k, v in values.items() if k in names}))
    return tuple(found)


View = (
    EngineView
    | NodeView
    | SessionView
    | ServiceView
    | AlertView
    | MinerView
    | VerificationView
    | WeightView
    | DiagnosisView
)
VIEWS: tuple[type[View], ...] = (
    EngineView,
    NodeView,
    SessionView,
    ServiceView,
    AlertView,
    MinerView,
    VerificationView,
    WeightView,
    DiagnosisView,
)
COLLECTIONS: Mapping[str, type[View]] = {cls.collection: cls for cls in VIEWS}

V = TypeVar("V", bound=View)


def view_to_json(view: View) -> dict[str, object]:
    """The view's fields as plain JSON values."""
    return {f.name: getattr(view, f.name) for f in dataclasses.fields(view)}


def view_from_json(cls: type[V], data: Mapping[str, object]) -> V:
    """A view from the other side; unknown fields are dropped, missing ones keep their default."""
    names = {f.name for f in dataclasses.fields(cls)}
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items() if k in names}
    return cls(**values)  # type: ignore[arg-type]  # shapes are the peer's; drawn as text, never trusted


@dataclass(slots=True)
class LogRecord:
    """One line of the engine's structured log."""

    seq: int
    at: float
    level: str
    event: str
    fields: dict[str, str] = field(default_factory=dict)
