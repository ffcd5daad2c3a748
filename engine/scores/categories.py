"""From a GPU's name to its category, by both profiles, and what a node with several GPU models counts as."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

OTHER = "OTHER"
DEPLOYED_CATEGORIES = ("A100", "H100", "B200")
"""In the order of the deployed search; the first hit wins."""

DOCUMENTED_REWARDED = ("H100", "H200", "B200")

# A left boundary keeps GB200 and GH200 out, a digit boundary on the right keeps A1000 out; a form factor may follow
# without a blank (H100NVL).
_DOCUMENTED_MODEL = re.compile(r"(?<![A-Z0-9])(H100|H200|B200|A100)(?![0-9])", re.ASCII)
_VENDOR_WORDS = ("NVIDIA", "GEFORCE", "TESLA")
_CACHE_SIZE = 4096  # names come from nodes; a hostile fleet must not grow this without bound


@dataclass(frozen=True, slots=True)
class GpuGroup:
    """GPUs of one model in a node; ``memory_gb`` is one GPU's, None when unknown."""

    model: str
    count: int
    memory_gb: float | None = None


@dataclass(frozen=True, slots=True)
class NodeGpus:
    """What a node counts as: all its GPUs, under the model and memory of the largest group."""

    model: str = ""
    count: int = 0
    memory_gb: float | None = None
    is_mixed: bool = False


def normalise_gpu_name(name: str) -> str:
    """Upper case, without the vendor's words, without outer blanks."""
    text = name.upper()
    for word in _VENDOR_WORDS:
        text = text.replace(word, "")
    return text.strip()


@lru_cache(maxsize=_CACHE_SIZE)
def deployed_category(name: str) -> str:
    """The category as deployed in October 2025: a substring search, so ``RTX A1000`` is an A100 and H200 is OTHER."""
    text = normalise_gpu_name(name)
    return next((category for category in DEPLOYED_CATEGORIES if category in text), OTHER)


@lru_cache(maxsize=_CACHE_SIZE)
def documented_category(name: str) -> str:
    """The category by the documents: exactly the models they name, so A1000, GB200 and GH200 are OTHER."""
    found = _DOCUMENTED_MODEL.search(normalise_gpu_name(name))
    return found.group(1) if found else OTHER


def merge_groups(groups: Iterable[GpuGroup]) -> NodeGpus:
    """Counts are added; the largest group (the first of equals) names the node."""
    present = [group for group in groups if group.count > 0]
    if not present:
        return NodeGpus()
    largest = max(present, key=lambda group: group.count)
    return NodeGpus(
        model=largest.model,
        count=sum(group.count for group in present),
        memory_gb=largest.memory_gb,
        is_mixed=len({group.model for group in present}) > 1,
    )
