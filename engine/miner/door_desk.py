"""What both calls ask before they do anything: who calls, how often, what the chain permits, what room is left."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from engine.clock import Clock
from engine.errors import ChainUnavailable
from engine.events import EventSink, ValidatorKeyChanged
from engine.identity.public_keys import PublicKey
from engine.identity.signatures import Signer
from engine.miner import door_rules as rules
from engine.miner.door_limits import DoorLimits, TokenBuckets, address_key
from engine.miner.door_quota import SessionLimits, SessionQuota
from engine.miner.door_request import Refused, Request, or_refuse
from engine.miner.door_rules import Caller
from engine.miner.ports import Admission, Permit
from engine.store.records import Opening, Session
from engine.wire.messages import AuthCall, DiscoverCall

SESSION_LIFETIME_S = 3600
"""What deployed miners announce (protocol.md §3)."""

log = structlog.get_logger()


class Desk:
    """Limits, permits and places within a validator's session limits; what it refuses, it refuses with Refused."""

    def __init__(
        self,
        signer: Signer,
        admission: Admission,
        *,
        clock: Clock,
        emit: EventSink,
        limits: DoorLimits,
        session_limits: SessionLimits,
    ) -> None:
        self._hotkey = signer.hotkey
        self._admission = admission
        self._clock = clock
        self._emit = emit
        self._by_address = TokenBuckets(limits.per_address, limits.buckets)
        self._by_hotkey = TokenBuckets(limits.per_hotkey, limits.buckets)
        self._quota = SessionQuota(session_limits)

    def let_in(self, peer: str) -> None:
        """Count a call from this address."""
        self._knock(self._by_address, address_key(peer))

    def find_caller(self, call: AuthCall | DiscoverCall, request: Request) -> Caller:
        """Who calls, counted against that hotkey's calls from this address."""
        caller = or_refuse(rules.find_caller(call, self._hotkey))
        self._knock(self._by_hotkey, f"{address_key(request.peer)} {caller.hotkey_hex}")
        return caller

    async def permit(self, hotkey: str) -> Permit:
        """What the chain says of this hotkey."""
        try:
            permit = await self._admission.permit(hotkey)
        except ChainUnavailable as error:
            log.warning("door.chain_unavailable", validator_hotkey=hotkey, error=str(error))
            raise Refused(rules.CHAIN_UNKNOWN) from error
        if not permit.permitted:
            raise Refused(rules.NOT_PERMITTED)
        return permit

    def claim(self, opened: Sequence[Opening], caller: Caller, key: PublicKey | None) -> Opening | None:
        """A place within the caller's session limits; a call that brings no key opens nothing yet."""
        if key is None:
            return None
        now = self._clock.now()
        until = now + SESSION_LIFETIME_S
        claimed = self._quota.claim(opened, caller.hotkey, key.fingerprint, now=now, until=until)
        if isinstance(claimed, float):
            raise Refused(rules.too_many_sessions(claimed))
        return claimed

    def release(self, opening: Opening | None) -> None:
        """The place is in the ledger, or was not needed."""
        if opening is not None:
            self._quota.release(opening)

    def watch_key(self, hotkey: str, previous: Session | None, fingerprint: str, *, is_signed: bool) -> None:
        """Tell the operator when a validator comes with another SSH key than before."""
        known = previous.key_fingerprint if previous else ""
        if known and fingerprint and known != fingerprint:
            self._emit(
                ValidatorKeyChanged(
                    at=self._clock.now(),
                    validator_hotkey=hotkey,
                    old_fingerprint=known,
                    new_fingerprint=fingerprint,
                    is_signed=is_signed,
                )
            )

    def _knock(self, buckets: TokenBuckets, key: str) -> None:
        verdict = buckets.take(key, self._clock.monotonic())
        if not verdict.is_allowed:
            # One event per row of refusals: a flood must not become a flood of events.
            raise Refused(rules.too_many(verdict.retry_after_s), is_quiet=not verdict.is_first)
