"""A verification that is due, and what is told and stored about it."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from engine.control.models import place_id
from engine.scores.history import Tier
from engine.ssh.target import NodeTarget
from engine.store.records import GpuClaim, Verification, VerificationStep
from engine.validator.full import FullFinding
from engine.validator.lightweight import Finding
from engine.validator.miner_nodes import OfferedNode
from engine.validator.sessions import Session
from engine.validator.settlement import Check, Place
from engine.validator.targets import MinerTarget


@dataclass(frozen=True, slots=True)
class Due:
    """A verification of one node of one miner, to be done with the key of this session."""

    miner: MinerTarget
    node: OfferedNode
    session: Session
    held_uuids: frozenset[str] = field(default_factory=frozenset)
    is_rented: bool = False
    tier: Tier = "lightweight"
    reason: str = ""
    """The rule that chose the tier."""

    @property
    def place(self) -> Place:
        """The miner's hotkey and the node's id."""
        return self.miner.hotkey, self.node.node_id

    @property
    def endpoint(self) -> str:
        """``user@host:port``."""
        return f"{self.node.username}@{self.node.host}:{self.node.port}"

    @property
    def target(self) -> NodeTarget:
        """Two miners may offer the same node id, so connections and host keys are kept apart by the hotkey."""
        node = self.node
        return NodeTarget(place_id(*self.place), node.host, node.port, node.username)


_FIELDS = tuple(one.name for one in fields(Verification) if one.name not in ("id", "steps"))


def event_fields(row: Verification) -> dict[str, Any]:
    """A row as the fields of its event."""
    took = {step.step: step.duration_ms for step in row.steps if step.verdict == "ok"}
    login_ms = took["host_key"] + took["ssh_login"] if {"host_key", "ssh_login"} <= took.keys() else None
    return {"verification_id": row.id, "login_ms": login_ms, **{name: getattr(row, name) for name in _FIELDS}}


def who(due: Due) -> dict[str, Any]:
    """Whose node, in the words of events and rows."""
    return {
        "miner_hotkey": due.miner.hotkey,
        "miner_uid": due.miner.uid,
        "node_id": due.node.node_id,
        "endpoint": due.endpoint,
    }


def check_of(due: Due, verification_id: str, at: float, light: Finding) -> Check:
    """A finished lightweight check as the records want it."""
    return Check(_row(due, verification_id, "lightweight", at, light), is_rented=due.is_rented)


def full_check_of(due: Due, verification_id: str, at: float, finding: FullFinding) -> Check:
    """A finished full verification as the records want it."""
    found, gpus = finding.attestation, finding.gpus
    claims: tuple[GpuClaim, ...] = ()
    capability, cuda = "", ""
    if gpus is not None:
        claims = tuple(
            GpuClaim(gpu.uuid, due.miner.hotkey, due.node.node_id, gpu.index, gpu.model, gpu.memory_mib or 0, at)
            for gpu in gpus.gpus
        )
        capability, cuda = gpus.compute_capability, gpus.cuda
    if found is not None:
        capability = found.gpus[0].compute_capability if found.gpus else capability
        cuda = found.cuda or cuda
    return Check(
        _row(due, verification_id, "full", at, finding),
        claims=claims,
        cuda=cuda,
        compute_capability=capability,
        facts=found.facts if found is not None else {},
        is_rented=due.is_rented,
        misbehaviour=finding.misbehaviour,
    )


def _row(due: Due, verification_id: str, tier: Tier, at: float, finding: Finding | FullFinding) -> Verification:
    gpus, error = finding.gpus, finding.error
    return Verification(
        id=verification_id,
        tier=tier,
        ok=error is None,
        at=at,
        duration_ms=round(finding.duration_ms, 1),
        gpu_model="" if gpus is None else gpus.model,
        gpu_uuids=() if gpus is None else gpus.uuids,
        error_code="" if error is None else error.code,
        message="" if error is None else error.message,
        steps=tuple(VerificationStep(s.step, s.verdict, s.evidence, s.duration_ms) for s in finding.steps),
        **who(due),
    )
