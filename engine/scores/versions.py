"""The least compute capability and CUDA that the documents want, and which of them a node misses."""

from __future__ import annotations

import re
from functools import lru_cache

MIN_COMPUTE_CAPABILITY = (8, 7)
MIN_CUDA = (12, 8)

_VERSION = re.compile(r"\s*v?([0-9]{1,4})(?:\.([0-9]{1,4}))?(?![0-9])", re.ASCII)


def version_of(text: str) -> tuple[int, int] | None:
    """Major and minor of a version text ("12.8", "12.8.1", "13"); None when it is none."""
    found = _VERSION.match(text)
    return (int(found.group(1)), int(found.group(2) or 0)) if found else None


@lru_cache(maxsize=1024)
def version_reasons(compute_capability: str, cuda: str) -> tuple[str, ...]:
    """What is too old or not known, one sentence each."""
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
