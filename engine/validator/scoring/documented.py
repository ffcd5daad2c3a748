"""The profile ``documented``: what the published guides promise to miners. The default."""

from __future__ import annotations

from engine.scores.categories import documented_category
from engine.validator.scoring.arithmetic import left_sum
from engine.validator.scoring.eligibility import documented_reasons
from engine.validator.scoring.emission import Emission
from engine.validator.scoring.facts import MinerFacts, NodeFacts, RoundContext, chain_exclusions
from engine.validator.scoring.node_score import documented_node_score
from engine.validator.scoring.results import CategoryScore, MinerScore, NodeScore


def score_documented_node(facts: NodeFacts, emission: Emission) -> NodeScore:
    """A node's score, and its GPUs × ramp when it is rewarded."""
    category = documented_category(facts.gpus.model)
    reasons = documented_reasons(facts, category, emission)
    multiplier = facts.ramp.multiplier
    effective = 0.0 if reasons else facts.gpus.count * multiplier
    return NodeScore(facts, category, documented_node_score(facts), multiplier, effective, reasons)


def score_documented_miner(facts: MinerFacts, emission: Emission, context: RoundContext) -> MinerScore:
    """The mean of all its nodes' scores, rewarded or not, times the effective GPUs in each category."""
    nodes = tuple(score_documented_node(node, emission) for node in facts.nodes)
    score = left_sum(node.score or 0.0 for node in nodes) / len(nodes) if nodes else 0.0
    return MinerScore(
        facts, "documented", score, nodes, category_scores(score, nodes), chain_exclusions(facts, context)
    )


def category_scores(score: float, nodes: tuple[NodeScore, ...]) -> dict[str, CategoryScore]:
    """Add up the rewarded nodes by category; nothing is rounded before it is multiplied. Same in both profiles."""
    effective: dict[str, float] = {}
    for node in nodes:
        if node.is_rewarded:
            effective[node.category] = effective.get(node.category, 0.0) + node.effective_gpus
    return {category: CategoryScore(gpus, score * gpus) for category, gpus in effective.items()}
