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
class Verification:
    """One verification of a miner's node by our validator."""

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
