"""Read models: what a console may know about an engine. Flat, JSON-friendly, tolerant of unknown fields.

Every view has an ``id``. Times are Unix seconds, percentages 0..100, stake and emission in TAO, None is
"not known". Text in here may come from other machines: whoever draws it must treat it as hostile.
"""

from __future__ import annotations

import dataclasses
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
    started_at: float | None = None
    stopping: bool = False
    compressed_time: bool = False
    block: int | None = None
    metagraph_at: float | None = None
    chain_error: str = ""
    axon_on_chain: str = ""
    axon_bound: str = ""
    axon_advertised: str = ""
    strategy: str = ""
    assigned_hotkey: str = ""
    assigned_uid: int | None = None
    assigned_stake_tao: float | None = None
    assigned_reason: str = ""
    assigned_since: float | None = None
    last_called_at: float | None = None
    last_called_by: str = ""


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
    gpu_model: str = ""
    gpu_count: int | None = None
    gpu_memory_mib: int | None = None
    gpu_uuids: tuple[str, ...] = ()
    driver: str = ""
    cuda: str = ""
    utilisation_percent: float | None = None
    temperature_c: float | None = None
    sshd_version: str = ""
    clock_skew_s: float | None = None
    latency_ms: float | None = None
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
    """One alert, active or past."""

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


@dataclass(slots=True)
class MinerView:
    """Validator role: one miner on chain, id = its hotkey."""

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


@dataclass(slots=True)
class VerificationView:
    """Validator role: the latest verification of one node, id = the node id."""

    collection: ClassVar[str] = "verifications"
    id: str
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


View = EngineView | NodeView | SessionView | ServiceView | AlertView | MinerView | VerificationView
VIEWS: tuple[type[View], ...] = (
    EngineView,
    NodeView,
    SessionView,
    ServiceView,
    AlertView,
    MinerView,
    VerificationView,
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
