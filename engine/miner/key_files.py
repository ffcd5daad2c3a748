"""One node's wanted lines written where its grants are kept, and taken out of the other file that sshd reads."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial

from engine.errors import BasilicaError, KeyFileRefused, SshFailure
from engine.miner.grant_files import Placement
from engine.ssh.authorized_keys import Change, Refusal, WantedKey, inventory, plan_change
from engine.ssh.keyfile import edit_key_file, read_key_file
from engine.ssh.pool import NodePool
from engine.ssh.target import NodeTarget, RootFile

_REFUSED_FOR_NEW = frozenset({"mode", "too_large"})
"""Reasons that speak against a line more; lines that must go can go all the same."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a node's files should say: ``wanted`` lines, and none of the other ``managed`` ids.

    ``standing`` are ids whose lines may be rewritten but must not be lost where nothing can be written.
    """

    wanted: Sequence[WantedKey]
    managed: frozenset[str]
    standing: frozenset[str]
    own_blobs: frozenset[str]
    now: float
    adopt_leftovers: bool


@dataclass(frozen=True, slots=True)
class Written:
    """The files as read back. ``unfinished`` is what keeps lines of ended grants, or a second copy, where they are."""

    data: bytes
    """The account's own file."""
    root: bytes | None
    """The root's file; None where it was not read."""
    change: Change
    """Of the file in which the grants are kept."""
    is_written: bool = True
    """Whether the wanted lines were; False where only removal was possible."""
    leftovers_removed: int = 0
    unfinished: BasilicaError | None = None

    @property
    def blobs(self) -> set[bytes]:
        """Every key that opens the node now, as far as was read."""
        lines = (*inventory(self.data).lines, *inventory(self.root or b"").lines)
        return {line.blob for line in lines if line.is_key}


async def write(pool: NodePool, target: NodeTarget, placement: Placement, order: Order) -> Written:
    """Make the node's files say what is ordered. A move in progress writes first and takes out after that.

    Raises KeyFileRefused and SshFailure when the file that keeps the grants was not changed.
    """
    root = placement.wanted_in_root
    if root is not None:
        return await _write_root(pool, target, root, order)
    try:
        edited = await edit_key_file(pool, target, partial(_plan, order=order))
    except KeyFileRefused as failure:
        if failure.reason not in _REFUSED_FOR_NEW:
            raise
        edited = await edit_key_file(pool, target, partial(_plan, order=_removal(order)))
        return Written(edited.state.data, None, edited.change, is_written=False, unfinished=failure)
    leftovers = edited.change.leftovers_removed
    written = Written(edited.state.data, None, edited.change, leftovers_removed=leftovers)
    emptied = placement.emptied_root
    if emptied is None:
        return written
    try:
        other = await edit_key_file(pool, emptied, partial(_plan_emptied, order=order))
    except (SshFailure, KeyFileRefused) as failure:
        return Written(written.data, None, written.change, leftovers_removed=leftovers, unfinished=failure)
    return Written(written.data, other.state.data, written.change, leftovers_removed=leftovers)


async def _write_root(pool: NodePool, target: NodeTarget, root: RootFile, order: Order) -> Written:
    """The account's file cannot hold this up: a guest could spoil it so that keys are not taken away any more."""
    beside = b""
    try:
        beside = (await read_key_file(pool, target)).data
        edited = await edit_key_file(pool, root, partial(_plan, order=order, neighbour=beside))
    except KeyFileRefused as failure:
        # Nor may a drop-in that somebody took away: the running sshd may not have noticed yet.
        edited = await edit_key_file(pool, root, partial(_plan, order=_removal(order)))
        return Written(beside, edited.state.data, edited.change, is_written=False, unfinished=failure)
    written = Written(beside, edited.state.data, edited.change)
    planned = _plan_emptied(beside, order=order, adopt=order.adopt_leftovers)
    if isinstance(planned, Change) and not planned.is_changed:
        return written
    try:
        rest = await edit_key_file(pool, target, partial(_plan_emptied, order=order, adopt=order.adopt_leftovers))
    except (SshFailure, KeyFileRefused) as failure:
        return Written(beside, written.root, written.change, unfinished=failure)
    return Written(rest.state.data, written.root, written.change, leftovers_removed=rest.change.leftovers_removed)


def _removal(order: Order) -> Order:
    """What is left of an order where nothing new may be written."""
    return replace(order, wanted=(), managed=order.managed - order.standing, adopt_leftovers=False)


def _plan(old: bytes, *, order: Order, neighbour: bytes = b"") -> Change | Refusal:
    return plan_change(
        old,
        order.wanted,
        order.own_blobs,
        managed_ids=order.managed,
        expired_before_unix=int(order.now),
        remove_leftovers=order.adopt_leftovers,
        neighbour=neighbour,
    )


def _plan_emptied(old: bytes, *, order: Order, adopt: bool = False) -> Change | Refusal:
    """Without any line of what is written elsewhere now."""
    elsewhere: Collection[str] = {one.grant_id for one in order.wanted}
    return plan_change(
        old,
        (),
        order.own_blobs,
        managed_ids={*order.managed, *elsewhere},
        expired_before_unix=int(order.now),
        remove_leftovers=adopt,
    )
