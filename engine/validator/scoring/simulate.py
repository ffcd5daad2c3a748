"""A weight vector from category scores that someone wrote down, with remarks on what in them has no effect."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine.scores.categories import DOCUMENTED_REWARDED
from engine.validator.scoring.allocation import Allocation, Ranking, allocate
from engine.validator.scoring.emission import Emission
from engine.validator.scoring.profiles import Profile


@dataclass(frozen=True, slots=True)
class Simulation:
    """The vector, and what the caller should know about the input."""

    profile: Profile
    allocation: Allocation
    notes: tuple[str, ...]


def simulate(profile: Profile, emission: Emission, ranking: Ranking, *, prefix: str = "emission.") -> Simulation:
    """Divide the weights as ``profile`` would; ``documented`` pays nothing for categories it does not reward.

    The order inside a category is kept: the last gets the remainder. Raises ScoresInvalid as ``allocate`` does.
    """
    notes = list(emission.notes(profile, prefix=prefix))
    kept: dict[str, Sequence[tuple[int, float]]] = {}
    for category, miners in ranking.items():
        if category not in emission.gpu_allocations:
            notes.append(f"categories.{category}: not in {prefix}gpu_allocations, so these scores earn nothing")
        elif profile == "documented" and category not in DOCUMENTED_REWARDED:
            notes.append(
                f"categories.{category}: the profile {profile} does not reward it, so these scores earn nothing"
            )
        else:
            kept[category] = miners
    return Simulation(profile, allocate(emission, kept), tuple(notes))
