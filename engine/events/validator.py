"""The validator role: miners, verifications, weights."""

from __future__ import annotations

from dataclasses import dataclass

from engine.events.base import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class MinerDiscovered(Event):
    kind = "miner.discovered"
    severity = "debug"
    hotkey: str
    uid: int
    endpoint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MinerSkipped(Event):
    """A neuron that is not called, and why; told when it begins and when the reason changes."""

    kind = "miner.skipped"
    severity = "debug"
    hotkey: str
    uid: int
    endpoint: str
    reason: str


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
class MinerMoved(Event):
    """A miner has another uid, or another hotkey of the same owner; an empty ``hotkey``: a stranger took the uid."""

    kind = "miner.moved"
    hotkey: str
    old_hotkey: str
    uid: int


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
    login_ms: float | None = None
    """From the first packet to the end of the login; None when there was none."""


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
class VerificationsRefused(Event):
    """Nodes of a miner are due for a full verification and found no room in the queue; the next round tries again."""

    kind = "verification.refused"
    severity = "warning"
    miner_hotkey: str
    miner_uid: int
    nodes: int
    queued: int


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
class LightweightMoved(Event):
    """A lightweight check waits for its turn, began, or ended a step: there are millions of them a day.

    ``step``, ``verdict``, ``evidence`` and ``duration_ms`` tell the step that ended, if one did.
    """

    kind = "verification.lightweight_moved"
    severity = "debug"
    passing = True
    miner_hotkey: str
    miner_uid: int
    node_id: str
    endpoint: str
    waits: bool
    steps: int
    step: str = ""
    verdict: str = ""
    evidence: str = ""
    duration_ms: float = 0.0


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
    """Failing nodes lost their GPUs, went offline or were forgotten; a forgotten node begins its ramp anew.

    Nodes are named "hotkey/node id"; engines of before named the id alone.
    """

    kind = "verification.cleaned_up"
    lost_gpus: tuple[str, ...]
    offline: tuple[str, ...]
    forgotten: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsSet(Event):
    """The chain took a weight vector; ``uids`` and ``burn`` describe it, the store has all of it with its inputs.

    ``weights`` are texts "uid weight"; ``portions`` "uid category weight how"; ``pools`` sentences, one per category.
    """

    kind = "weights.set"
    block: int
    profile: str
    version_key: int
    uids: int
    burn: int
    total: int
    next_block: int
    burn_uid: int = -1
    weights: tuple[str, ...] = ()
    portions: tuple[str, ...] = ()
    pools: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsRestored(WeightsSet):
    """The vector in force, set by an earlier run."""

    kind = "weights.restored"
    severity = "debug"


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsFailed(Event):
    """A weight vector could not be made or set."""

    kind = "weights.failed"
    severity = "error"
    block: int
    error_code: str
    message: str
    retry_in_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RentalBegan(Event):
    """Somebody who rents nodes out says that this one is rented."""

    kind = "rental.began"
    rental_id: str
    miner_hotkey: str
    node_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RentalRestored(RentalBegan):
    """A rental that an earlier run was told of."""

    kind = "rental.restored"
    severity = "debug"


@dataclass(frozen=True, slots=True, kw_only=True)
class RentalEnded(Event):
    """The node is free again, and is verified fully next."""

    kind = "rental.ended"
    rental_id: str
    miner_hotkey: str
    node_id: str
    reason: str
