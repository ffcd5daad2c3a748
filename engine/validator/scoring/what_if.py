"""What it would cost if one node failed its next check now."""

from __future__ import annotations

from dataclasses import dataclass, replace

from engine.errors import ScoresInvalid
from engine.scores.categories import NodeGpus
from engine.scores.history import Tier
from engine.scores.ramp import RAMP_MINUTES, Ramp
from engine.validator.scoring.facts import NodeFacts
from engine.validator.scoring.profiles import Profile
from engine.validator.scoring.results import MinerScore
from engine.validator.scoring.round import Round, finish_round, score_miner


@dataclass(frozen=True, slots=True)
class WhatIf:
    """The same miner before and after the failure, everybody else unchanged."""

    uid: int
    node_id: str
    before: Round
    after: Round

    @property
    def miner_before(self) -> MinerScore:
        return self.before.miners[self.uid]

    @property
    def miner_after(self) -> MinerScore:
        return self.after.miners[self.uid]

    @property
    def score_change(self) -> float:
        """Change of the miner's score (0 to 1); below zero is a loss."""
        return self.miner_after.score - self.miner_before.score

    @property
    def effective_gpus_change(self) -> float:
        """Change of the miner's effective GPUs, all categories together."""
        return _effective(self.miner_after) - _effective(self.miner_before)

    @property
    def multiplier_change(self) -> float:
        """Change of the failing node's ramp."""
        return _multiplier(self.miner_after, self.node_id) - _multiplier(self.miner_before, self.node_id)

    @property
    def weight_change(self) -> int:
        """Change of the miner's 16-bit weight."""
        weights_before, weights_after = self.before.allocation.weights, self.after.allocation.weights
        return weights_after.get(self.uid, 0) - weights_before.get(self.uid, 0)

    @property
    def share_change(self) -> float:
        """Change of the miner's part of the vector (0 to 1)."""
        return self.after.allocation.share(self.uid) - self.before.allocation.share(self.uid)

    @property
    def full_at_before(self) -> float | None:
        """When the node's ramp would have been full; None while no run is open."""
        return next(f.full_at for f in self.miner_before.forecasts() if f.node_id == self.node_id)

    @property
    def full_at_after(self) -> float:
        """When the node's ramp is full at the earliest if it recovers at once."""
        ramp = next(node.facts.ramp for node in self.miner_after.nodes if node.facts.node_id == self.node_id)
        if ramp.full_at is not None:
            return ramp.full_at
        now = self.after.context.now
        return now if ramp.multiplier >= 1.0 else now + RAMP_MINUTES * 60

    def explain(self) -> tuple[str, ...]:
        """The changes, lines of text."""
        before, after = self.before.allocation, self.after.allocation
        lines = [
            f"if {self.node_id} fails now, miner {self.uid} goes",
            f"  score {self.miner_before.score:.4f} to {self.miner_after.score:.4f}",
            f"  effective GPUs {_effective(self.miner_before):.4f} to {_effective(self.miner_after):.4f}",
            f"  weight {before.weights.get(self.uid, 0)} to {after.weights.get(self.uid, 0)}, "
            f"share {before.share(self.uid):.4%} to {after.share(self.uid):.4%}",
            f"  ramp {_multiplier(self.miner_before, self.node_id):.2%} to "
            f"{_multiplier(self.miner_after, self.node_id):.2%}",
        ]
        if self.before.profile == "deployed-2025-10":
            lines.append("  its GPUs count again after the next full validation; the ramp starts over only if the")
            lines.append("  node is still down when its row is cleaned up, usually 20 to 35 minutes later")
        return tuple(lines)


def what_if_failure(round_: Round, uid: int, node_id: str, *, tier: Tier = "full", ssh_ok: bool = False) -> WhatIf:
    """Score the round again with one more check of one node, a failed one.

    By default the node is gone: no login, so the full validation fails. Raises ScoresInvalid when the round has no
    such miner or node.
    """
    miner = round_.miners.get(uid)
    if miner is None:
        raise ScoresInvalid(f"uid {uid} is not in this round")
    if all(node.node_id != node_id for node in miner.facts.nodes):
        raise ScoresInvalid(f"miner {uid} has no node {node_id} in this round")
    nodes = tuple(
        failed_now(node, round_.profile, round_.context.now, tier=tier, ssh_ok=ssh_ok)
        if node.node_id == node_id
        else node
        for node in miner.facts.nodes
    )
    rescored = score_miner(round_.profile, replace(miner.facts, nodes=nodes), round_.emission, round_.context)
    after = finish_round(round_.profile, {**round_.miners, uid: rescored}, round_.emission, round_.context)
    return WhatIf(uid, node_id, round_, after)


def failed_now(
    facts: NodeFacts, profile: Profile, now: float, *, tier: Tier = "full", ssh_ok: bool = False
) -> NodeFacts:
    """A node's facts after one more failed check.

    Documented: the ramp falls to zero, the login counts as it went, a full failure also takes the second half of
    the score. Deployed: the node goes offline and loses its GPUs until the next full success, so its checks are no
    longer counted either; the ramp stays.
    """
    if profile == "documented":
        return replace(
            facts,
            ssh=facts.ssh.plus(passed=ssh_ok),
            last_full_ok=False if tier == "full" else facts.last_full_ok,
            ramp=Ramp(last_reset_at=now),
        )
    return replace(
        facts,
        checks=facts.checks.plus(passed=False),
        is_online=False,
        gpus=NodeGpus(facts.gpus.model, 0, facts.gpus.memory_gb, facts.gpus.is_mixed),
    )


def _effective(miner: MinerScore) -> float:
    return sum(entry.effective_gpus for entry in miner.categories.values())


def _multiplier(miner: MinerScore, node_id: str) -> float:
    return next(node.multiplier for node in miner.nodes if node.facts.node_id == node_id)
