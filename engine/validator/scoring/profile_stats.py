"""Reporting figures of the deployed validator: the pass ratio of rows, GPUs by category, category statistics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from engine.scores.categories import deployed_category
from engine.scores.history import Rate
from engine.validator.scoring.arithmetic import left_sum
from engine.validator.scoring.emission import Emission
from engine.validator.scoring.results import MinerScore


@dataclass(frozen=True, slots=True)
class ValidationRow:
    """One stored validation as the deployed scorer reads it. ``is_attested`` is true for successful rows."""

    node_id: str
    gpu_model: str
    gpu_count: int
    is_valid: bool = True
    is_attested: bool = True


@dataclass(frozen=True, slots=True)
class CategoryStatistics:
    """A category's miners and their scores, split over a miner's categories by GPU count. Reporting only."""

    miners: int
    total: float
    average: float
    lowest: float
    highest: float


def row_ratio(rows: Iterable[ValidationRow]) -> Rate:
    """Rows that are valid and attested; how many GPUs or nodes they speak of makes no difference."""
    passed = total = 0
    for row in rows:
        total += 1
        passed += row.is_valid and row.is_attested
    return Rate(passed, total)


def gpu_distribution(rows: Iterable[ValidationRow]) -> dict[str, int]:
    """GPUs by category over the valid rows, each node once: its first valid row counts."""
    counts: dict[str, int] = {}
    seen: set[str] = set()
    for row in rows:
        if not (row.is_valid and row.is_attested) or row.gpu_count <= 0 or row.node_id in seen:
            continue
        seen.add(row.node_id)
        category = deployed_category(row.gpu_model)
        counts[category] = counts.get(category, 0) + row.gpu_count
    return counts


def category_statistics(miners: Iterable[MinerScore], emission: Emission) -> Mapping[str, CategoryStatistics]:
    """Figures for each category that is paid. A miner's score is divided by its rewarded GPUs, without the ramp."""
    parts: dict[str, list[float]] = {}
    for miner in miners:
        counts: dict[str, int] = {}
        for node in miner.nodes:
            if node.is_rewarded and node.category in emission.gpu_allocations:
                counts[node.category] = counts.get(node.category, 0) + node.facts.gpus.count
        total = sum(counts.values())
        for category, count in counts.items():
            parts.setdefault(category, []).append(miner.score * count / total)
    return {
        category: CategoryStatistics(
            len(scores), left_sum(scores), left_sum(scores) / len(scores), min(scores), max(scores)
        )
        for category, scores in parts.items()
    }
