"""What the subnet pays for: the burn share and each GPU category's part, with the rules a valid setting keeps.

Source: the deployed validator of October 2025; keys and defaults are its ``[emission]`` section.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from engine.scores.categories import DEPLOYED_CATEGORIES, DOCUMENTED_REWARDED
from engine.validator.scoring.arithmetic import left_sum
from engine.validator.scoring.profiles import Profile

DEFAULT_BURN_UID = 204
DEFAULT_INTERVAL_BLOCKS = 360
MAX_UID = 65_535
MAX_VERSION_KEY = 2**64 - 1
SUM_TOLERANCE = 0.01


@dataclass(frozen=True, slots=True)
class CategoryRule:
    """One category's part of what is not burnt, in percent, and what a node needs to count in it."""

    weight: float
    min_gpu_count: int = 1
    min_gpu_vram: int | None = None

    def admits_memory(self, memory_gb: float | None) -> bool:
        """Whether a node's GPU memory suffices; 0 and 1 mean that any does, as deployed."""
        if self.min_gpu_vram is None or self.min_gpu_vram in (0, 1):
            return True
        return memory_gb is not None and memory_gb >= self.min_gpu_vram


@dataclass(frozen=True, slots=True)
class Emission:
    """The emission settings. Category names are upper case. The default alone is invalid: it pays for nothing."""

    burn_percentage: float = 0.0
    burn_uid: int = DEFAULT_BURN_UID
    gpu_allocations: Mapping[str, CategoryRule] = field(default_factory=dict)
    min_miners_per_category: int = 1
    weight_set_interval_blocks: int = DEFAULT_INTERVAL_BLOCKS
    weight_version_key: int = 0

    def merge_with_defaults(self) -> Emission:
        """An interval of 0 blocks stands for the default one; everything else stays."""
        if self.weight_set_interval_blocks:
            return self
        return replace(self, weight_set_interval_blocks=DEFAULT_INTERVAL_BLOCKS)

    def problems(self, *, prefix: str = "emission.") -> tuple[str, ...]:
        """Every violated rule as one sentence with key, value and what to do; ``prefix`` leads each key."""
        key = f"{prefix}gpu_allocations"
        return (*self.scalar_problems(prefix), *self.category_problems(key), *self.total_problems(key))

    def scalar_problems(self, prefix: str) -> tuple[str, ...]:
        """The violated rules of the plain settings."""
        found = []
        if not (math.isfinite(self.burn_percentage) and 0 <= self.burn_percentage <= 100):
            found.append(f"{prefix}burn_percentage = {self.burn_percentage}: choose a number from 0 to 100")
        if not 0 <= self.burn_uid <= MAX_UID:
            found.append(f"{prefix}burn_uid = {self.burn_uid}: choose a uid from 0 to {MAX_UID}")
        if self.min_miners_per_category < 0:
            found.append(f"{prefix}min_miners_per_category = {self.min_miners_per_category}: choose 0 or more")
        if self.weight_set_interval_blocks <= 0:
            found.append(
                f"{prefix}weight_set_interval_blocks = {self.weight_set_interval_blocks}: "
                f"choose 1 or more, {DEFAULT_INTERVAL_BLOCKS} is usual"
            )
        if not 0 <= self.weight_version_key <= MAX_VERSION_KEY:
            found.append(
                f"{prefix}weight_version_key = {self.weight_version_key}: choose a number from 0 to {MAX_VERSION_KEY}"
            )
        return tuple(found)

    def category_problems(self, key: str) -> tuple[str, ...]:
        """The violated rules of single categories; ``key`` leads each sentence."""
        found = []
        for category, rule in self.gpu_allocations.items():
            if not math.isfinite(rule.weight) or rule.weight < 0:
                found.append(f"{key}.{category}.weight = {rule.weight}: choose a percentage of 0 or more")
            if rule.min_gpu_count < 1:
                found.append(f"{key}.{category}.min_gpu_count = {rule.min_gpu_count}: choose 1 or more")
            if rule.min_gpu_vram is not None and rule.min_gpu_vram <= 0:
                found.append(
                    f"{key}.{category}.min_gpu_vram = {rule.min_gpu_vram}: choose 1 or more GB, or leave it out"
                )
        return tuple(found)

    def total_problems(self, key: str) -> tuple[str, ...]:
        """The violated rules of the categories together; ``key`` leads each sentence."""
        if not self.gpu_allocations:
            return (f"{key} = {{}}: name at least one GPU category, for example H100 = 100",)
        total = self.total_weight
        if math.isfinite(total) and abs(total - 100.0) > SUM_TOLERANCE:
            return (f"{key} weights sum to {total:g}: change them so that they sum to 100",)
        return ()

    @property
    def total_weight(self) -> float:
        """The sum of all categories' percentages."""
        return left_sum(rule.weight for rule in self.gpu_allocations.values())

    def notes(self, profile: Profile, *, prefix: str = "emission.") -> tuple[str, ...]:
        """What is allowed but probably not meant, one sentence each."""
        payable = DOCUMENTED_REWARDED if profile == "documented" else DEPLOYED_CATEGORIES
        found = [
            f"{prefix}gpu_allocations.{category} = {rule.weight:g}: the profile {profile} never finds such a GPU "
            "to pay, so this part is burnt"
            for category, rule in self.gpu_allocations.items()
            if category not in payable and rule.weight > 0
        ]
        if self.total_weight > 100:
            found.append(
                f"{prefix}gpu_allocations weights sum to {self.total_weight}: anything above 100 can make the vector "
                "too large to be set"
            )
        return tuple(found)
