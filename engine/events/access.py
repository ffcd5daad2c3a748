"""Keys on nodes: grants, their deployment and removal, drift, live sessions, the miner's own key."""

from __future__ import annotations

from dataclasses import dataclass

from engine.events.base import Event


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
class AccessRenewed(Event):
    """The operator extended a validator's access without waiting for its next discovery."""

    kind = "access.renewed"
    validator_hotkey: str
    access_until: float


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
    certified: bool = False
    """It is a name in the authority's line, not a line of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateIssued(Event):
    """A validator was given an SSH certificate for one grant; ``serial`` and ``key_id`` are what the node logs."""

    kind = "certificate.issued"
    severity = "debug"
    grant_id: str
    node_id: str
    validator_hotkey: str
    serial: str
    key_id: str
    expires_at: float


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


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyLinesSeen(Event):
    """Every key line of a node, said when it is not what was said last. ``lines``: one JSON object each, at most 60."""

    kind = "key.lines_seen"
    severity = "debug"
    node_id: str
    count: int
    lines: tuple[str, ...]


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
    can_certify: bool = False
    """Whether a certificate was proved to open it; False also while certificates are off."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantsFileMoved(Event):
    """A step in the move of a node's grants between the account's key file and one that only root can write.

    ``step``: ``entering``, ``root``, ``leaving``, ``user``; ``message`` says why a move was taken back.
    """

    kind = "key.grants_file"
    severity = "warning"
    node_id: str
    step: str
    path: str
    login: str
    message: str = ""
