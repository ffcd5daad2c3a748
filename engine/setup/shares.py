"""A validator's GPU shares as people write them, ``A100=8 H100=12 B200=80:8``. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from engine.errors import ConfigInvalid

_WORD = re.compile(r"([A-Za-z][A-Za-z0-9_-]{0,31})=([0-9]+(?:\.[0-9]+)?)%?(?::([0-9]{1,4}))?")
_SPLIT = re.compile(r"[,;\s]+")
TOLERANCE = 0.01
"""As the deployed validator sums them."""


@dataclass(frozen=True, slots=True)
class Share:
    """Percent of the emission, and how many GPUs a node must have to count."""

    percent: float
    least_gpus: int = 1


def parse_shares(text: str) -> Mapping[str, Share]:
    """Category to its share. Raises ConfigInvalid for a word that is none, a category twice, a sum that is not 100."""
    found: dict[str, Share] = {}
    for word in filter(None, _SPLIT.split(text.strip())):
        match = _WORD.fullmatch(word)
        if match is None:
            raise ConfigInvalid(f"'{word[:40]}' is no share; write CATEGORY=PERCENT, or CATEGORY=PERCENT:LEAST_GPUS")
        name, least = match[1].upper(), int(match[3] or 1)
        if name in found:
            raise ConfigInvalid(f"{name} is named twice; keep one")
        if least < 1:
            raise ConfigInvalid(f"{name}: a node with no GPU cannot count; write at least 1")
        found[name] = Share(float(match[2]), least)
    if not found:
        raise ConfigInvalid("name at least one category: without shares no weights can be set")
    total = math.fsum(share.percent for share in found.values())
    if abs(total - 100) > TOLERANCE:
        raise ConfigInvalid(f"the shares sum to {total:g}, and must sum to 100")
    return found
