"""A verification that is due, and what is told and stored about it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from engine.scores.history import Tier
from engine.ssh.target import NodeTarget
from engine.store.records import GpuClaim, Verification
from engine.validator.book import Outcome, Place
from engine.validator.full import FullFinding
from engine.validator.miner_nodes import OfferedNode
from engine.validator.sessions import Session
from engine.validator.targets import MinerTarget


@dataclass(frozen=True, slots=True)
class Due:
    """A verification of one node of one miner, to be done with the key of this session."""

    miner: MinerTarget
    node: OfferedNode
    tier: Tier
    session: Session
    held_uuids: frozenset[str] = field(default_factory=frozenset)

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
        return NodeTarget(f"{self.miner.hotkey}/{node.node_id}", node.host, node.port, node.username)


def event_fields(row: Verification) -> dict[str, Any]:
    """A row as the fields of its event."""
    fields = asdict(row)
    return {"verification_id": fields.pop("id"), **fields}


def who(due: Due) -> dict[str, Any]:
    """Whose node, in the words of events and rows."""
    return {
        "miner_hotkey": due.miner.hotkey,
        "miner_uid": due.miner.uid,
        "node_id": due.node.node_id,
        "endpoint": due.endpoint,
    }


def outcome_of(due: Due, finding: FullFinding, at: float) -> Outcome:
    """What a full verification means for the records."""
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
    return Outcome(
        "full",
        finding.error is None,
        at,
        claims=claims,
        cuda=cuda,
        compute_capability=capability,
        facts=found.facts if found is not None else None,
    )
