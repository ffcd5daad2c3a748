"""What scoring hands out: nodes and miners with their scores, the inputs they came from, and the reasons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from engine.scores.ramp import Forecast
from engine.validator.scoring.facts import MinerFacts, NodeFacts
from engine.validator.scoring.node_score import explain_documented_node_score
from engine.validator.scoring.profiles import Profile


@dataclass(frozen=True, slots=True)
class NodeScore:
    """One node's part. ``score`` is None in the deployed profile, where only miners have one.

    ``reasons`` say why the node earns nothing; it is empty when its GPUs count.
    """

    facts: NodeFacts
    category: str
    score: float | None
    multiplier: float
    effective_gpus: float
    reasons: tuple[str, ...]

    @property
    def is_rewarded(self) -> bool:
        """Whether the node's GPUs count for the weights."""
        return not self.reasons

    def explain(self) -> tuple[str, ...]:
        """How the node's part came about, lines of text."""
        gpus = self.facts.gpus
        mixed = ", several models" if gpus.is_mixed else ""
        lines = [f"{self.facts.node_id}: {gpus.count} × {gpus.model or 'no GPU'} ({self.category}{mixed})"]
        if self.score is not None:
            lines.append(f"  {explain_documented_node_score(self.facts)}")
        lines.append(f"  {self.facts.ramp.explain()}")
        lines += [f"  not rewarded: {reason}" for reason in self.reasons]
        if self.is_rewarded:
            lines.append(f"  {gpus.count} GPUs × {self.multiplier:.4f} = {self.effective_gpus:.4f} effective GPUs")
        return tuple(lines)


@dataclass(frozen=True, slots=True)
class CategoryScore:
    """What a miner has in one category: effective GPUs of its rewarded nodes, and score × that."""

    effective_gpus: float
    score: float


@dataclass(frozen=True, slots=True)
class MinerScore:
    """One miner. ``score`` is 0 to 1; ``excluded`` says why the miner is left out altogether, empty when it is not."""

    facts: MinerFacts
    profile: Profile
    score: float
    nodes: tuple[NodeScore, ...]
    categories: Mapping[str, CategoryScore]
    excluded: tuple[str, ...]

    def forecasts(self) -> tuple[Forecast, ...]:
        """For each node the time at which its ramp is full if nothing fails."""
        return tuple(
            Forecast(node.facts.node_id, node.multiplier, node.facts.ramp.full_at, node.facts.ramp.full_on)
            for node in self.nodes
        )

    def explain(self) -> tuple[str, ...]:
        """How the miner's scores came about, lines of text; the nodes last."""
        lines = [self._explain_score()]
        lines += [f"left out: {reason}" for reason in self.excluded]
        lines += [
            f"{category}: {self.score:.4f} × {entry.effective_gpus:.4f} effective GPUs = {entry.score:.6f}"
            for category, entry in self.categories.items()
        ]
        if not self.categories:
            lines.append("no node counts in a category that is paid")
        for node in self.nodes:
            lines += node.explain()
        return tuple(lines)

    def _explain_score(self) -> str:
        name = f"miner {self.facts.uid}: score {self.score:.4f}"
        if self.profile == "documented":
            return f"{name}, mean of {len(self.nodes)} node scores"
        counted = [node.facts for node in self.nodes if node.facts.is_online and node.facts.gpus.count > 0]
        passed = sum(facts.checks.passed for facts in counted)
        return f"{name}, {passed} of {sum(facts.checks.total for facts in counted)} checks passed in 3 h"
