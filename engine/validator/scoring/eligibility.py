"""Which nodes are rewarded by the documents, with the reasons for those that are not."""

from __future__ import annotations

from engine.scores.categories import DOCUMENTED_REWARDED, OTHER
from engine.scores.versions import version_reasons
from engine.validator.scoring.emission import Emission
from engine.validator.scoring.facts import NodeFacts


def documented_reasons(facts: NodeFacts, category: str, emission: Emission) -> tuple[str, ...]:
    """Why a node earns nothing by the documents; empty when it is rewarded."""
    if facts.gpus.count <= 0:
        return ("no GPU is proved to be in it",)
    found: list[str] = []
    if category not in DOCUMENTED_REWARDED:
        name = facts.gpus.model or "its GPU"
        found.append(f"{name} is validated but not rewarded; rewarded are {', '.join(DOCUMENTED_REWARDED)}")
    else:
        found += emission_reasons(facts, category, emission)
    found += version_reasons(facts.compute_capability, facts.cuda)
    if facts.ssh.total == 0:
        found.append("it was not checked within the rolling window")
    return tuple(found)


def emission_reasons(facts: NodeFacts, category: str, emission: Emission) -> tuple[str, ...]:
    """Why the emission settings do not count a node; minimums are for each node, not for the miner."""
    rule = emission.gpu_allocations.get(category)
    if rule is None:
        name = f"{facts.gpus.model or 'its GPU'} ({category})" if category == OTHER else category
        return (f"{name} is not in gpu_allocations",)
    found = []
    if facts.gpus.count < rule.min_gpu_count:
        found.append(f"{facts.gpus.count} GPUs, {category} needs {rule.min_gpu_count} in one node")
    if not rule.admits_memory(facts.gpus.memory_gb):
        known = "unknown GPU memory" if facts.gpus.memory_gb is None else f"{facts.gpus.memory_gb:g} GB of GPU memory"
        found.append(f"{known}, {category} needs {rule.min_gpu_vram} GB")
    return tuple(found)
