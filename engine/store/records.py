"""What the store keeps, as plain rows: frozen, without behaviour beyond a question or two about themselves.

Times are Unix seconds, stake is TAO. None means "not yet" or "not known".
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Grant:
    """This key may enter this node until then. Written before the node is touched, kept until the line is gone."""

    id: str
    node_id: str
    hotkey: str
    algorithm: str
    blob_base64: str
    fingerprint: str
    created_at: float
    renewed_at: float
    expires_at: float
    deployed_exp: int | None = None
    """The ``exp`` of the line that was last read back from the node."""
    deployed_at: float | None = None
    ended_at: float | None = None
    end_reason: str = ""
    removed_at: float | None = None
    wrapped: bool = False
    """Whether the line carries the forced command that marks sessions and ends them."""
    certified: bool = False
    """Whether the validator enters with certificates of ours; its key has no line of its own then."""

    @property
    def is_open(self) -> bool:
        """Whether something may still have to be done on the node."""
        return self.removed_at is None

    def is_wanted(self, now: float) -> bool:
        """Whether the key belongs on the node at this time."""
        return self.ended_at is None and self.expires_at > now


@dataclass(frozen=True, slots=True)
class KnownNode:
    """A node that was ever configured; one that left the configuration stays until its keys are gone."""

    node_id: str
    host: str
    port: int
    username: str
    label: str
    added_at: float
    removed_at: float | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """A validator's latest authentication and what came of it; one row per hotkey."""

    hotkey: str
    token: str
    issued_at: float
    expires_at: float
    dialect: str
    peer: str
    uid: int | None = None
    stake_tao: float | None = None
    key_algorithm: str = ""
    key_blob_base64: str = ""
    key_fingerprint: str = ""
    last_discovery_at: float | None = None
    nodes_ready: int = 0
    nodes_failed: int = 0
    access_until: float | None = None
    ended_at: float | None = None
    end_reason: str = ""


@dataclass(frozen=True, slots=True)
class Opening:
    """A validator's session as its limits count it: from its first call with an SSH key until nothing of it holds."""

    hotkey: str
    key_fingerprint: str
    opened_at: float
    until: float


@dataclass(frozen=True, slots=True)
class SpentNonce:
    """A nonce that an accepted request used up, with the answer for an identical retry."""

    hotkey_hex: str
    nonce: str
    call: str
    body_sha256: str
    peer: str
    accepted_at: float
    answer: bytes


@dataclass(frozen=True, slots=True)
class VerificationStep:
    """One step of a verification. ``verdict``: ok, failed, skipped or impossible."""

    step: str
    verdict: str
    evidence: str
    duration_ms: float


@dataclass(frozen=True, slots=True)
class Verification:
    """One verification of a miner's node by our validator, with its steps in order."""

    id: str
    miner_hotkey: str
    miner_uid: int
    node_id: str
    endpoint: str
    tier: str
    ok: bool
    at: float
    duration_ms: float
    gpu_model: str = ""
    gpu_uuids: tuple[str, ...] = ()
    error_code: str = ""
    message: str = ""
    steps: tuple[VerificationStep, ...] = ()


@dataclass(frozen=True, slots=True)
class LatestCheck:
    """A node's newest check, and when the one before it failed; None when that one passed or there was none."""

    miner_hotkey: str
    node_id: str
    verification_id: str
    at: float
    ok: bool
    failed_before_at: float | None


@dataclass(frozen=True, slots=True)
class Rental:
    """A node that somebody has rented, from then until then; still rented without an end."""

    id: str
    miner_hotkey: str
    node_id: str
    started_at: float
    ended_at: float | None = None
    end_reason: str = ""
    entered_by: str = ""


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One link of the audit chain; ``details`` is JSON text, hashed as it stands."""

    seq: int
    at: float
    kind: str
    actor: str
    subject: str
    outcome: str
    details: str
    prev_hash: str
    hash: str


@dataclass(frozen=True, slots=True)
class AlertRecord:
    """One episode of one alert, from its beginning to its end."""

    id: str
    rule: str
    subject: str
    level: str
    message: str
    impact: str
    hint: str
    began_at: float
    ended_at: float | None = None
    acknowledged_at: float | None = None


@dataclass(frozen=True, slots=True)
class ValidatedNode:
    """What the validator holds of a node now. ``status``: online, verified or offline.

    ``run_since`` began the unbroken run of passed checks (documents), ``full_run_since`` the one that the deployed
    query sees; ``created_at`` is that of the row, which clean-up may delete.
    """

    miner_hotkey: str
    node_id: str
    miner_uid: int
    endpoint: str
    status: str
    created_at: float
    last_check_at: float
    last_ok_at: float | None = None
    last_full_at: float | None = None
    last_full_ok: bool | None = None
    full_ok_at: float | None = None
    offline_since: float | None = None
    run_since: float | None = None
    full_run_since: float | None = None
    last_reset_at: float | None = None
    gpu_model: str = ""
    gpu_count: int = 0
    memory_mib: int | None = None
    compute_capability: str = ""
    cuda: str = ""
    facts: str = "{}"


@dataclass(frozen=True, slots=True)
class GpuClaim:
    """A GPU and the one node that it counts for."""

    gpu_uuid: str
    miner_hotkey: str
    node_id: str
    gpu_index: int
    model: str
    memory_mib: int
    verified_at: float


@dataclass(frozen=True, slots=True)
class Misbehaviour:
    """Something that a node did and that an honest one does not."""

    miner_hotkey: str
    node_id: str
    at: float
    reason: str
    details: str = ""


@dataclass(frozen=True, slots=True)
class WeightSet:
    """A vector that was, or should have been, set; ``vector`` and ``inputs`` are JSON."""

    at: float
    block: int
    profile: str
    version_key: int
    ok: bool
    attempts: int
    error: str
    vector: str
    inputs: str


@dataclass(frozen=True, slots=True)
class ApiKeyRecord:
    """One API key; ``digest`` is an Argon2id string, ``scopes`` are words with blanks between."""

    id: str
    name: str
    digest: str
    scopes: str
    created_at: float
    expires_at: float | None = None
    last_used_at: float | None = None
    revoked_at: float | None = None


@dataclass(frozen=True, slots=True)
class HourSums:
    """One node's checks within an hour since 1970, and its score as it was last computed then; None: not scored.

    Of everything together ``score`` is the mean.
    """

    hour: int
    passed: int
    logged_in: int
    total: int
    score: float | None


@dataclass(frozen=True, slots=True)
class CheckCounts:
    """A node's checks in a window of time."""

    passed: int = 0
    logged_in: int = 0
    total: int = 0
