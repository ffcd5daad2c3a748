"""One GPU counts for one node: who owns a UUID that two nodes show. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from engine.store.records import GpuClaim
from engine.validator.schedule import LIVE

Place = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Ownership:
    """What a node gets. ``rejected`` are GPUs that another node holds, with that node."""

    accepted: tuple[GpuClaim, ...]
    rejected: tuple[tuple[str, Place], ...]

    @property
    def is_all_duplicate(self) -> bool:
        """Whether the node showed GPUs and none of them counts for it."""
        return bool(self.rejected) and not self.accepted


def settle_claims(
    wanted: Sequence[GpuClaim], held: Sequence[GpuClaim], owner_status: Mapping[Place, str | None]
) -> Ownership:
    """Give a node the GPUs that it showed, except those that a living node holds.

    ``owner_status`` is the status of each node in ``held``, None for one that the validator no longer holds.
    """
    owners = {claim.gpu_uuid: (claim.miner_hotkey, claim.node_id) for claim in held}
    accepted, rejected = [], []
    for claim in wanted:
        owner = owners.get(claim.gpu_uuid)
        is_ours = owner is None or owner == (claim.miner_hotkey, claim.node_id)
        if owner is None or is_ours or owner_status.get(owner) not in LIVE:
            accepted.append(claim)
        else:
            rejected.append((claim.gpu_uuid, owner))
    return Ownership(tuple(accepted), tuple(rejected))
