"""Rules of grants: who may enter which node until when. Pure; the rows live in the store.

A grant is written before its node is touched. It is renewed by each discovery with the same key and ends one
session lifetime after the last one; a new key of the same validator replaces the old one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from engine.identity.public_keys import PublicKey
from engine.store.records import Grant
from engine.wire.messages import Dialect

Wrapping = Literal["off", "ours", "all"]

END_EXPIRED = "expired"
END_REPLACED = "replaced by a new key"
END_UNASSIGNED = "validator no longer assigned"
END_NODE_REMOVED = "node removed from the configuration"
END_OPERATOR = "ended by the operator"
END_SHUTDOWN = "engine shut down"
END_NO_PERMIT = "validator lost its permit"


@dataclass(frozen=True, slots=True)
class GrantPlan:
    """What a discovery changes: rows to write, and ids of rows that end because of it."""

    put: tuple[Grant, ...]
    end: tuple[Grant, ...]


def is_wrapped(wrapping: Wrapping, dialect: Dialect) -> bool:
    """Whether the key lines of a validator with this dialect mark and end its sessions: B is spoken by ours alone."""
    return wrapping == "all" or (wrapping == "ours" and dialect == "B")


def expiry_second(grant: Grant) -> int:
    """The whole second at which the node closes: never later than the row says."""
    return int(grant.expires_at)


def needs_work(grant: Grant, now: float) -> bool:
    """Whether the node does not yet match this row, as far as we know."""
    if grant.removed_at is not None:
        return False
    if grant.is_wanted(now):
        return grant.deployed_exp != expiry_second(grant)
    return True


def plan_grants(
    open_grants: Iterable[Grant],
    node_ids: Sequence[str],
    hotkey: str,
    key: PublicKey,
    *,
    now: float,
    lifetime_s: float,
    new_id: Callable[[], str],
    wrapped: bool = False,
    certified: bool = False,
) -> GrantPlan:
    """Give ``hotkey`` access with ``key`` to every node for one session lifetime from now.

    ``open_grants`` are all rows not yet removed; those of other validators are left alone. ``wrapped`` asks for the
    forced command in the key lines, ``certified`` for certificates instead of key lines.
    """
    mine: dict[str, list[Grant]] = {}
    for grant in open_grants:
        if grant.hotkey == hotkey and grant.ended_at is None:
            mine.setdefault(grant.node_id, []).append(grant)
    put: list[Grant] = []
    end: list[Grant] = []
    for node_id in node_ids:
        current = None
        for grant in mine.get(node_id, ()):
            if current is None and grant.blob_base64 == key.blob_base64 and grant.is_wanted(now):
                current = grant
            else:
                end.append(grant)
        if current is not None:
            renewed = replace(current, renewed_at=now, expires_at=now + lifetime_s)
        else:
            renewed = _new_grant(new_id(), node_id, hotkey, key, now, lifetime_s)
        put.append(replace(renewed, wrapped=wrapped, certified=certified))
    return GrantPlan(tuple(put), tuple(end))


def expired(grants: Iterable[Grant], now: float) -> tuple[Grant, ...]:
    """Rows that are over by the clock and not yet marked so."""
    return tuple(g for g in grants if g.ended_at is None and g.expires_at <= now)


def next_change_at(grants: Iterable[Grant], now: float) -> float | None:
    """When the next wanted row runs out; None when none is wanted."""
    return min((g.expires_at for g in grants if g.is_wanted(now)), default=None)


def key_held_by_other(open_grants: Iterable[Grant], hotkey: str, blob_base64: str) -> str | None:
    """The hotkey of another validator that already enters with this key, if any."""
    for grant in open_grants:
        if grant.blob_base64 == blob_base64 and grant.hotkey != hotkey and grant.ended_at is None:
            return grant.hotkey
    return None


def _new_grant(grant_id: str, node_id: str, hotkey: str, key: PublicKey, now: float, lifetime_s: float) -> Grant:
    return Grant(
        id=grant_id,
        node_id=node_id,
        hotkey=hotkey,
        algorithm=key.algorithm,
        blob_base64=key.blob_base64,
        fingerprint=key.fingerprint,
        created_at=now,
        renewed_at=now,
        expires_at=now + lifetime_s,
        deployed_exp=None,
        deployed_at=None,
        ended_at=None,
        end_reason="",
        removed_at=None,
    )
