"""Which nodes are rewarded by the documents, with the reasons for those that are not."""

from __future__ import annotations

import re
from functools import lru_cache

from engine.validator.scoring.categories import DOCUMENTED_REWARDED, OTHER
from engine.validator.scoring.emission import Emission
from engine.validator.scoring.facts import NodeFacts

MIN_COMPUTE_CAPABILITY = (8, 7)
MIN_CUDA = (12, 8)

_VERSION = re.compile(r"\s*v?([0-9]{1,4})(?:\.([0-9]{1,4}))?(?![0-9])", re.ASCII)


def version_of(text: str) -> tuple[int, int] | None:
    """Major and minor of a version text ("12.8", "12.8.1", "13"); None when it is none."""
    found = _VERSION.match(text)
    return (int(found.group(1)), int(found.group(2) or 0)) if found else None


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
    found += _version_reasons(facts.compute_capability, facts.cuda)
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


@lru_cache(maxsize=1024)
def _version_reasons(compute_capability: str, cuda: str) -> tuple[str, ...]:
    return (
        *_version_reason("compute capability", compute_capability, MIN_COMPUTE_CAPABILITY),
        *_version_reason("CUDA", cuda, MIN_CUDA),
    )


def _version_reason(what: str, text: str, minimum: tuple[int, int]) -> tuple[str, ...]:
    version = version_of(text)
    needed = f"{minimum[0]}.{minimum[1]}"
    if version is None:
        return (f"{what} is not known, {needed} or newer is needed",)
    return () if version >= minimum else (f"{what} {text.strip()} is below {needed}",)
