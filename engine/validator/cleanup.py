"""What becomes of nodes that fail: lose their GPUs, go offline, are forgotten. Pure.

A node that is forgotten begins its ramp anew: that is the deployed validator's one real reset.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass

from engine.store.records import GpuClaim, ValidatedNode
from engine.validator.schedule import LIVE

CLAIM_MAX_AGE_S = 6 * 3600.0
UNSEEN_S = 30 * 60.0
FAILED_WINDOW_S = 3600.0
"""Two failures in a row count only when both are younger."""

Place = tuple[str, str]


@dataclass(frozen=True, slots=True)
class CleanUp:
    """What to do; places are (miner hotkey, node id)."""

    drop_claims: tuple[Place, ...] = ()
    offline: tuple[Place, ...] = ()
    forget: tuple[Place, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.drop_claims or self.offline or self.forget)


def plan_clean_up(
    nodes: Iterable[ValidatedNode],
    claims: Iterable[GpuClaim],
    now: float,
    *,
    twice_failed: Set[Place],
    ttl_s: float,
    interval_s: float,
    claim_age_s: float = CLAIM_MAX_AGE_S,
    rented: Set[Place] = frozenset(),
) -> CleanUp:
    """The rules in the deployed order. ``twice_failed`` are nodes whose two newest checks of the last hour failed.

    ``interval_s`` is the time between two rounds; ``claim_age_s`` how long a GPU counts without being seen.
    """
    newest: dict[Place, float] = {}
    for claim in claims:
        place = claim.miner_hotkey, claim.node_id
        newest[place] = max(newest.get(place, 0.0), claim.verified_at)
    drop, offline, forget = [], [], []
    for node in nodes:
        place = node.miner_hotkey, node.node_id
        if place in rented:
            continue
        is_offline = node.status not in LIVE
        is_empty = node.gpu_count > 0 and place not in newest
        if is_empty or (not is_offline and _is_unseen(node, now, interval_s)):
            is_offline = True
            offline.append(place)
        if place in newest and (is_offline or now - newest[place] > claim_age_s):
            drop.append(place)
        since = node.offline_since if node.offline_since is not None else node.last_check_at
        if is_offline and (place in twice_failed or now - since > ttl_s):
            forget.append(place)
    return CleanUp(tuple(drop), tuple(offline), tuple(forget))


def _is_unseen(node: ValidatedNode, now: float, interval_s: float) -> bool:
    return now - node.last_check_at > max(UNSEEN_S, 3 * interval_s)
