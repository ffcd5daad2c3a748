"""The profile ``deployed-2025-10``: what the validators of October 2025 compute, odd corners included."""

from __future__ import annotations

from engine.scores.categories import deployed_category
from engine.scores.history import Rate
from engine.validator.scoring.documented import category_scores
from engine.validator.scoring.eligibility import emission_reasons
from engine.validator.scoring.emission import Emission
from engine.validator.scoring.facts import MinerFacts, NodeFacts, RoundContext, chain_exclusions
from engine.validator.scoring.results import MinerScore, NodeScore

PROFILE_MAX_AGE_S = 3 * 3600.0


def score_deployed_node(facts: NodeFacts, emission: Emission) -> NodeScore:
    """A node's category and effective GPUs; capability and CUDA are not looked at."""
    category = deployed_category(facts.gpus.model)
    reasons = (
        emission_reasons(facts, category, emission)
        if facts.gpus.count > 0
        else ("no GPU is assigned to it; the next full validation assigns them",)
    )
    multiplier = facts.ramp.multiplier
    effective = 0.0 if reasons else facts.gpus.count * multiplier
    return NodeScore(facts, category, None, multiplier, effective, reasons)


def score_deployed_miner(facts: MinerFacts, emission: Emission, context: RoundContext) -> MinerScore:
    """The pass ratio of three hours, times the effective GPUs in each category."""
    nodes = tuple(score_deployed_node(node, emission) for node in facts.nodes)
    score = pass_ratio(facts).value
    excluded = (*chain_exclusions(facts, context), *_age_exclusions(facts, context))
    return MinerScore(facts, "deployed-2025-10", score, nodes, category_scores(score, nodes), excluded)


def pass_ratio(facts: MinerFacts) -> Rate:
    """Checks passed and made on the nodes that are online and own GPUs; those of other nodes are not counted."""
    passed = total = 0
    for node in facts.nodes:
        if node.is_online and node.gpus.count > 0:
            passed += node.checks.passed
            total += node.checks.total
    return Rate(passed, total)


def is_in_epoch(last_success_at: float | None, epoch_start: float | None) -> bool:
    """Whether a miner succeeded since weights were last set; before the first time everyone passes."""
    return epoch_start is None or (last_success_at is not None and last_success_at >= epoch_start)


def _age_exclusions(facts: MinerFacts, context: RoundContext) -> tuple[str, ...]:
    found = []
    if facts.profile_updated_at is None or facts.profile_updated_at < context.now - PROFILE_MAX_AGE_S:
        found.append("its profile was not updated for 3 h")
    if not is_in_epoch(facts.last_success_at, context.epoch_start):
        found.append("no check passed since weights were last set")
    return tuple(found)
