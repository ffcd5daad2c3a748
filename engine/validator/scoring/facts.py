"""What the rules need to know about a node and a miner. The caller fills these from its store; nothing is read here."""

from __future__ import annotations

from dataclasses import dataclass

from engine.scores.categories import NodeGpus
from engine.scores.history import NOTHING_TRIED, Rate
from engine.scores.ramp import Ramp


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """One node. ``ramp`` is read with the function of the profile in use.

    Documented: ``ssh`` (rolling window), ``last_full_ok``, ``compute_capability`` ("9.0") and ``cuda`` ("12.8").
    Deployed: ``checks`` (three hours) and ``is_online``, the node's status being online or verified.
    """

    node_id: str
    gpus: NodeGpus
    ramp: Ramp
    ssh: Rate = NOTHING_TRIED
    last_full_ok: bool | None = None
    compute_capability: str = ""
    cuda: str = ""
    checks: Rate = NOTHING_TRIED
    is_online: bool = True


@dataclass(frozen=True, slots=True)
class MinerFacts:
    """One miner and the nodes that it offers now. Times are unix seconds; None stands for never.

    ``profile_updated_at`` and ``last_success_at`` (any tier) matter in the deployed profile alone.
    """

    uid: int
    nodes: tuple[NodeFacts, ...]
    has_axon: bool = True
    profile_updated_at: float | None = None
    last_success_at: float | None = None


@dataclass(frozen=True, slots=True)
class RoundContext:
    """The moment of a round. ``epoch_start`` is when weights were last set, None before the first time."""

    now: float
    metagraph_size: int | None = None
    epoch_start: float | None = None


def chain_exclusions(facts: MinerFacts, context: RoundContext) -> tuple[str, ...]:
    """Why the chain's state alone keeps a miner out, in words; the same in both profiles."""
    found = []
    if context.metagraph_size is not None and not 0 <= facts.uid < context.metagraph_size:
        found.append(f"uid {facts.uid} is not in the metagraph of {context.metagraph_size} neurons")
    if not facts.has_axon:
        found.append("its axon has no address or port on the chain")
    return tuple(found)
