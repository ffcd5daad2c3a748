"""From category scores to a weight vector, and why each weight is what it is.

The arithmetic is that of the deployed validator, which has not changed between its 2025 versions; the documents
name none. A vector usually sums to 65533 to 65535: what truncation cuts off is not given to anyone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from engine.errors import ScoresInvalid
from engine.validator.scoring.arithmetic import TOTAL_WEIGHT, left_sum, percent_of, split_pool
from engine.validator.scoring.emission import MAX_UID, Emission

Ranking = Mapping[str, Sequence[tuple[int, float]]]
"""For each category its miners as (uid, score), in the order in which the pool is divided: the last gets the rest."""

MAX_SCORE = 1e15


@dataclass(frozen=True, slots=True)
class Portion:
    """One miner's part of one category's pool."""

    uid: int
    score: float
    weight: int


@dataclass(frozen=True, slots=True)
class CategoryPool:
    """What one category had to give and who got it. ``burnt`` goes to the burn uid instead, with ``reason``."""

    category: str
    percentage: float
    pool: int
    total_score: float
    portions: tuple[Portion, ...]
    burnt: int = 0
    reason: str = ""

    @property
    def lost(self) -> int:
        """What nobody gets because an equal split left a remainder."""
        return self.pool - self.burnt - sum(portion.weight for portion in self.portions)

    def explain(self) -> str:
        """One line about the pool."""
        line = f"{self.category}: {self.percentage:g} % of what is not burnt = {self.pool}"
        if self.reason:
            return f"{line}, {self.reason}"
        how = f"total score {self.total_score:.6g}" if self.total_score > 0 else "no score above 0, split equally"
        return f"{line}, miners {len(self.portions)}, {how}"

    def explain_portion(self, place: int) -> str:
        """One line about one miner's part, by its place in ``portions``."""
        portion = self.portions[place]
        if self.total_score <= 0:
            return f"{self.pool} / {len(self.portions)} miners, cut off = {portion.weight}"
        if place == len(self.portions) - 1:
            return f"last in line, the rest of {self.pool} = {portion.weight}"
        return f"{self.pool} × {portion.score:.6g} / {self.total_score:.6g}, cut off = {portion.weight}"


@dataclass(frozen=True, slots=True)
class Allocation:
    """A whole weight vector with its inputs. ``weights`` maps uid to a whole number above zero, burn uid included."""

    emission: Emission
    base_burn: int
    pools: tuple[CategoryPool, ...]
    weights: Mapping[int, int]

    @property
    def rest(self) -> int:
        """What is left for the categories after the burn percentage."""
        return TOTAL_WEIGHT - self.base_burn

    @property
    def burn(self) -> int:
        """What is burnt: the burn percentage and the pools that nobody earned."""
        return self.base_burn + sum(pool.burnt for pool in self.pools)

    @property
    def burn_percentage(self) -> float:
        """``burn`` as a percentage of everything there is."""
        return self.burn / TOTAL_WEIGHT * 100.0

    @property
    def total(self) -> int:
        """The sum of the vector."""
        return sum(self.weights.values())

    @property
    def miners_served(self) -> int:
        """Entries of the vector besides the burn, counted as the deployed validator counts."""
        return len(self.weights) - (1 if self.burn > 0 else 0)

    @property
    def vector(self) -> tuple[tuple[int, int], ...]:
        """(uid, weight) in order of the uids, as it goes to the chain."""
        return tuple(sorted(self.weights.items()))

    def share(self, uid: int) -> float:
        """The part of the vector that a uid gets, 0 to 1, as the chain reads it after normalising."""
        return self.weights.get(uid, 0) / self.total if self.total else 0.0

    def explain(self, uid: int | None = None) -> tuple[str, ...]:
        """How the vector came about, or how one uid's weight did: lines of text."""
        burn_line = (
            f"burn: {self.emission.burn_percentage:g} % of {TOTAL_WEIGHT} = {self.base_burn}, "
            f"unearned pools {self.burn - self.base_burn}, together {self.burn} to uid {self.emission.burn_uid}"
        )
        if uid is None:
            lines = [burn_line]
            for pool in self.pools:
                lines.append(pool.explain())
                lines += [f"  uid {p.uid}: {pool.explain_portion(place)}" for place, p in enumerate(pool.portions)]
            return (*lines, f"sum {self.total}, miners served {self.miners_served}")
        lines = [
            f"{pool.category}: {pool.explain_portion(place)}"
            for pool in self.pools
            for place, portion in enumerate(pool.portions)
            if portion.uid == uid
        ]
        if uid == self.emission.burn_uid and self.burn:
            lines.append(burn_line)
        if not lines:
            return (f"uid {uid}: no weight, it has no score in a category that is paid",)
        return (*lines, f"uid {uid}: weight {self.weights.get(uid, 0)} of {self.total} = {self.share(uid):.4%}")


def allocate(emission: Emission, ranking: Ranking) -> Allocation:
    """Divide the vector. Categories that are not in ``emission.gpu_allocations`` get nothing.

    The order inside a category is kept as given. Raises ScoresInvalid for a score or uid out of range, and when the
    categories' percentages sum to so much above 100 that the vector would be too large.
    """
    _check_ranking(ranking)
    base_burn = percent_of(TOTAL_WEIGHT, emission.burn_percentage)
    rest = TOTAL_WEIGHT - base_burn
    pools = tuple(
        _divide(category, rule.weight, percent_of(rest, rule.weight), ranking.get(category, ()), emission)
        for category, rule in emission.gpu_allocations.items()
    )
    weights: dict[int, int] = {}
    for pool in pools:
        for portion in pool.portions:
            if portion.weight:
                weights[portion.uid] = weights.get(portion.uid, 0) + portion.weight
    burn = base_burn + sum(pool.burnt for pool in pools)
    if burn:
        weights[emission.burn_uid] = weights.get(emission.burn_uid, 0) + burn
    _check_total(emission, sum(weights.values()))
    check_vector(weights.items())
    return Allocation(emission, base_burn, pools, weights)


def check_vector(entries: Iterable[tuple[int, int]]) -> None:
    """Refuse a vector the chain would not take: empty, a uid twice, or numbers that do not fit 16 bits.

    Raises ScoresInvalid with one problem each.
    """
    problems = []
    seen: set[int] = set()
    total = 0
    for uid, weight in entries:
        if uid in seen:
            problems.append(f"uid {uid} is in the vector twice")
        seen.add(uid)
        if not 0 <= uid <= MAX_UID:
            problems.append(f"uid {uid} is not between 0 and {MAX_UID}")
        if not 0 <= weight <= TOTAL_WEIGHT:
            problems.append(f"uid {uid} has weight {weight}, which is not between 0 and {TOTAL_WEIGHT}")
        total += weight
    if not seen:
        problems.append("the vector is empty")
    if total > TOTAL_WEIGHT:
        problems.append(f"the vector sums to {total}, more than {TOTAL_WEIGHT}")
    if problems:
        raise ScoresInvalid("the weight vector cannot be set", problems=tuple(problems))


def _divide(
    category: str, percentage: float, pool: int, miners: Sequence[tuple[int, float]], emission: Emission
) -> CategoryPool:
    if not miners or len(miners) < emission.min_miners_per_category:
        reason = (
            f"{len(miners)} of {emission.min_miners_per_category} miners needed, burnt" if miners else "no miner, burnt"
        )
        return CategoryPool(category, percentage, pool, 0.0, (), burnt=pool, reason=reason)
    scores = [score for _, score in miners]
    portions = tuple(
        Portion(uid, score, weight) for (uid, score), weight in zip(miners, split_pool(pool, scores), strict=True)
    )
    return CategoryPool(category, percentage, pool, left_sum(scores), portions)


def _check_total(emission: Emission, total: int) -> None:
    if total > TOTAL_WEIGHT:
        problem = (
            f"gpu_allocations weights sum to {emission.total_weight:g}, which makes a vector of {total}, "
            f"more than {TOTAL_WEIGHT}: change them so that they sum to 100"
        )
        raise ScoresInvalid("the weight vector cannot be set", problems=(problem,))


def _check_ranking(ranking: Ranking) -> None:
    problems = [
        f"{category}: uid {uid} has score {score}; a score is a number from 0 to {MAX_SCORE:g}"
        for category, miners in ranking.items()
        for uid, score in miners
        if not (math.isfinite(score) and 0 <= score <= MAX_SCORE)
    ]
    if problems:
        raise ScoresInvalid("the scores cannot be used", problems=tuple(problems))
