"""What finished checks do to the records: the node's row, the GPUs that count for it, its misbehaviour. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from engine.errors import GpuClaimed
from engine.store.checks import Question, Settlement, Standing
from engine.store.records import GpuClaim, Misbehaviour, ValidatedNode, Verification
from engine.validator.ownership import settle_claims
from engine.validator.schedule import LIVE

DAY_S = 86400.0
Place = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Check:
    """A finished check. ``row`` is kept as it is, unless the GPUs that it showed turn out to be another node's."""

    row: Verification
    claims: tuple[GpuClaim, ...] = ()
    cuda: str = ""
    compute_capability: str = ""
    facts: Mapping[str, object] = field(default_factory=dict)
    is_rented: bool = False
    misbehaviour: str = ""
    """The reason, empty when the node did nothing wrong."""

    @property
    def place(self) -> Place:
        """The miner's hotkey and the node's id."""
        return self.row.miner_hotkey, self.row.node_id

    @property
    def is_full(self) -> bool:
        """Whether it was a full verification."""
        return self.row.tier == "full"


def question_of(check: Check) -> Question:
    """What has to be known before the check can be settled."""
    is_pass = check.is_full and check.row.ok
    # The deployed query counts every passed full verification of the UTC day on which a node's row is made.
    day = check.row.at - check.row.at % DAY_S
    return Question(check.place, tuple(claim.gpu_uuid for claim in check.claims), day if is_pass else None)


def after_failure(node: ValidatedNode, check: Check, *, failed_full_resets: bool) -> ValidatedNode:
    """A known node failed: offline, without GPUs, its run over."""
    at, is_full = check.row.at, check.is_full
    return replace(
        node,
        status="offline",
        gpu_count=0,
        last_check_at=at,
        last_full_at=at if is_full else node.last_full_at,
        last_full_ok=False if is_full else node.last_full_ok,
        offline_since=node.offline_since if node.status not in LIVE else at,
        run_since=None,
        full_run_since=None if is_full and failed_full_resets else node.full_run_since,
        last_reset_at=node.last_reset_at if node.run_since is None else at,
    )


def after_success(node: ValidatedNode, check: Check, claims: Sequence[GpuClaim]) -> ValidatedNode:
    """A known node passed. Only a full verification names its GPUs and dates the six hours anew.

    It brings the node online; a lightweight one leaves a living node as it is, and a rented one is online.
    """
    at = check.row.at
    node = replace(
        node,
        last_check_at=at,
        last_ok_at=at,
        run_since=at if node.run_since is None else node.run_since,
        status="online" if check.is_full or check.is_rented else node.status if node.status in LIVE else "verified",
        offline_since=None,
    )
    if not check.is_full:
        return node
    first = claims[0] if claims else None
    return replace(
        node,
        last_full_at=at,
        last_full_ok=True,
        full_ok_at=at,
        full_run_since=at if node.full_run_since is None else node.full_run_since,
        gpu_model=first.model if first else "",
        gpu_count=len(claims),
        memory_mib=first.memory_mib if first else None,
        compute_capability=check.compute_capability,
        cuda=check.cuda,
        facts=json.dumps(check.facts, separators=(",", ":")),
    )


def settle(standing: Standing, checks: Sequence[Check], *, failed_full_resets: bool) -> Settlement:
    """What the checks of a group, in their order, change."""
    ledger = _Ledger(standing, failed_full_resets=failed_full_resets)
    rows = [ledger.enter(check) for check in checks]
    wrongs = [
        Misbehaviour(*check.place, check.row.at, check.misbehaviour, row.message or "a step says so")
        for check, row in zip(checks, rows, strict=True)
        if check.misbehaviour
    ]
    return Settlement(rows, tuple(ledger.changed.values()), ledger.claims, ledger.seen, wrongs)


class _Ledger:
    """The records as they would be after each check."""

    def __init__(self, standing: Standing, *, failed_full_resets: bool) -> None:
        self._nodes = dict(standing.nodes)
        self._held = {claim.gpu_uuid: claim for claim in standing.claims}
        self._first_full = standing.first_full
        self._failed_full_resets = failed_full_resets
        self.changed: dict[Place, ValidatedNode] = {}
        self.claims: dict[Place, Sequence[GpuClaim]] = {}
        self.seen: dict[Place, float] = {}

    def enter(self, check: Check) -> Verification:
        """One check; returns its row as it is to be kept."""
        row, place = check.row, check.place
        known = self._nodes.get(place)
        if known is not None:
            known = replace(known, miner_uid=row.miner_uid, endpoint=row.endpoint)
        if row.ok and check.is_full:
            return self._pass(known or self._new(check), check, is_new=known is None)
        if known is None:
            return row  # a node is held from its first passed full verification on
        if row.ok:
            self._put(after_success(known, check, ()))
            self.seen[place] = row.at
        else:
            self._fail(known, check)
        return row

    def _pass(self, node: ValidatedNode, check: Check, *, is_new: bool) -> Verification:
        held = [self._held[claim.gpu_uuid] for claim in check.claims if claim.gpu_uuid in self._held]
        owners = {(claim.miner_hotkey, claim.node_id) for claim in held}
        status = {owner: self._nodes[owner].status if owner in self._nodes else None for owner in owners}
        ownership = settle_claims(check.claims, held, status)
        if not ownership.is_all_duplicate:
            self._put(after_success(node, check, ownership.accepted))
            self._give(check.place, ownership.accepted)
            return check.row
        uuid, owner = ownership.rejected[0]
        if not is_new:
            self._fail(node, check)
        error = GpuClaimed(f"GPU {uuid} counts for node {owner[1]} of miner {owner[0]}")
        return replace(check.row, ok=False, error_code=error.code, message=error.message)

    def _fail(self, node: ValidatedNode, check: Check) -> None:
        self._put(after_failure(node, check, failed_full_resets=self._failed_full_resets))
        self._give(check.place, ())

    def _put(self, node: ValidatedNode) -> None:
        place = node.miner_hotkey, node.node_id
        self._nodes[place] = self.changed[place] = node

    def _give(self, place: Place, claims: Sequence[GpuClaim]) -> None:
        self._held = {u: c for u, c in self._held.items() if (c.miner_hotkey, c.node_id) != place}
        self._held |= {claim.gpu_uuid: claim for claim in claims}
        self.claims[place] = claims

    def _new(self, check: Check) -> ValidatedNode:
        row = check.row
        return ValidatedNode(
            miner_hotkey=row.miner_hotkey,
            node_id=row.node_id,
            miner_uid=row.miner_uid,
            endpoint=row.endpoint,
            status="unknown",
            created_at=row.at,
            last_check_at=row.at,
            full_run_since=self._first_full.get(check.place),
        )
