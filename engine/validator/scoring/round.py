"""One round of scoring: all miners in, a weight vector out, and every number in between kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from engine.errors import ScoresInvalid
from engine.validator.scoring.allocation import Allocation, Ranking, allocate
from engine.validator.scoring.deployed_2025_10 import score_deployed_miner
from engine.validator.scoring.documented import score_documented_miner
from engine.validator.scoring.emission import Emission
from engine.validator.scoring.facts import MinerFacts, RoundContext
from engine.validator.scoring.profiles import Profile
from engine.validator.scoring.results import MinerScore


@dataclass(frozen=True, slots=True)
class Round:
    """A scored round. ``miners`` holds everyone by uid, also those left out."""

    profile: Profile
    emission: Emission
    context: RoundContext
    miners: Mapping[int, MinerScore]
    ranking: Ranking
    allocation: Allocation

    def explain(self, uid: int) -> tuple[str, ...]:
        """Everything that led to one uid's weight, lines of text, from the weight down to the nodes."""
        lines = self.allocation.explain(uid)
        miner = self.miners.get(uid)
        return lines if miner is None else (*lines, *miner.explain())


def score_miner(profile: Profile, facts: MinerFacts, emission: Emission, context: RoundContext) -> MinerScore:
    """One miner's scores by one profile."""
    score = score_documented_miner if profile == "documented" else score_deployed_miner
    return score(facts, emission, context)


def score_round(profile: Profile, miners: Iterable[MinerFacts], emission: Emission, context: RoundContext) -> Round:
    """Score everyone and divide the weights. Raises ScoresInvalid when a uid comes twice."""
    scored: dict[int, MinerScore] = {}
    for facts in miners:
        if facts.uid in scored:
            raise ScoresInvalid(f"uid {facts.uid} comes twice", hint="give each miner once, with all its nodes")
        scored[facts.uid] = score_miner(profile, facts, emission, context)
    return finish_round(profile, scored, emission, context)


def finish_round(
    profile: Profile, scored: Mapping[int, MinerScore], emission: Emission, context: RoundContext
) -> Round:
    """Rank miners that are already scored and divide the weights."""
    ranking = rank(scored.values())
    return Round(profile, emission, context, scored, ranking, allocate(emission, ranking))


def rank(miners: Iterable[MinerScore]) -> dict[str, tuple[tuple[int, float], ...]]:
    """For each category its miners by falling score, the lower uid first among equals; a score of zero stays in."""
    ranking: dict[str, list[tuple[int, float]]] = {}
    for miner in miners:
        if miner.excluded:
            continue
        for category, entry in miner.categories.items():
            ranking.setdefault(category, []).append((miner.facts.uid, entry.score))
    return {
        category: tuple(sorted(entries, key=lambda entry: (-entry[1], entry[0])))
        for category, entries in ranking.items()
    }
