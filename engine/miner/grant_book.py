"""What came of grants on a node, written into their rows and said: over, in place, refused, gone."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from engine.clock import Clock
from engine.events import EventSink, GrantEnded, KeyDeployed, KeyFailed, KeyRemoved
from engine.miner.grants import END_EXPIRED, expired, expiry_second
from engine.ssh.authorized_keys import RefusedKey
from engine.store.grants import GrantRepository
from engine.store.records import Grant


class GrantBook:
    """The reconciler's records. Every method raises StoreUnusable; an event follows its row, never precedes it."""

    def __init__(self, grants: GrantRepository, *, clock: Clock, emit: EventSink) -> None:
        self._grants = grants
        self._clock = clock
        self._emit = emit

    @property
    def damaged(self) -> frozenset[str]:
        """Ids whose rows make no sense: a line under one of them belongs nowhere."""
        return self._grants.damaged

    def damaged_on(self, node_id: str) -> frozenset[str]:
        """Those among them whose line may be on this node."""
        return frozenset(self._grants.damaged_on.get(node_id, ()))

    async def end_expired(self, node_id: str) -> list[Grant]:
        """Close rows whose time is over; the rows of this node whose key may still be there."""
        rows = await self._grants.open_for_node(node_id)
        now = self._clock.now()
        over = expired(rows, now)
        if over:
            await self._grants.end([g.id for g in over], now, END_EXPIRED)
            for grant in over:
                self._say_ended(grant, now, END_EXPIRED)
            rows = await self._grants.open_for_node(node_id)
        return list(rows)

    async def deployed(
        self, node_id: str, grants: Sequence[Grant], expiry_form: str, certified: Collection[str]
    ) -> None:
        """Their keys were read back from the node; ``certified`` ids as names on the authority's line."""
        now = self._clock.now()
        for grant in grants:
            exp = expiry_second(grant)
            if grant.deployed_exp == exp:
                continue
            await self._grants.mark_deployed(grant.id, exp, now)
            self._emit(
                KeyDeployed(
                    at=now,
                    grant_id=grant.id,
                    node_id=node_id,
                    validator_hotkey=grant.hotkey,
                    expires_at=grant.expires_at,
                    expiry_form=expiry_form,
                    renewed=grant.deployed_exp is not None,
                    certified=grant.id in certified,
                )
            )

    async def refused(self, node_id: str, grants: Sequence[Grant], why: Mapping[str, RefusedKey]) -> None:
        """Their keys must not be written there: the rows end, and nothing of them is on the node."""
        now = self._clock.now()
        for grant in grants:
            refused = why[grant.id]
            await self._grants.end([grant.id], now, refused.message)
            await self._grants.mark_removed([grant.id], now)
            self._say_ended(grant, now, refused.message)
            self._emit(
                KeyFailed(
                    at=now,
                    node_id=node_id,
                    operation="deploy",
                    error_code=refused.reason,
                    message=f"the key of {grant.hotkey} was not deployed: {refused.message}",
                    hint="a validator needs a key of its own; nothing was changed for this one",
                )
            )

    async def removed(self, node_id: str, grants: Sequence[Grant], damaged: Collection[str]) -> None:
        """Their keys were read back as gone, and so were the lines under these damaged ids."""
        now = self._clock.now()
        if damaged:
            await self._grants.close_damaged(node_id, damaged, now)
        if not grants:
            return
        await self._grants.mark_removed([g.id for g in grants], now)
        for grant in grants:
            self._emit(
                KeyRemoved(
                    at=now,
                    grant_id=grant.id,
                    node_id=node_id,
                    validator_hotkey=grant.hotkey,
                    reason=grant.end_reason,
                )
            )

    def _say_ended(self, grant: Grant, now: float, reason: str) -> None:
        self._emit(
            GrantEnded(at=now, grant_id=grant.id, node_id=grant.node_id, validator_hotkey=grant.hotkey, reason=reason)
        )
