"""The two calls of MinerDiscovery from bytes to bytes: limits, rules, chain, core, ledger, in that order."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias, TypeVar

import structlog

from engine.clock import Clock
from engine.errors import ChainUnavailable, PublicKeyRefused, StoreUnusable, WireMalformed
from engine.events import CallRefused, DiscoveryAnswered, EventSink, ValidatorAuthenticated, ValidatorKeyChanged
from engine.identity import payloads
from engine.identity.public_keys import PublicKey
from engine.identity.signatures import Signer
from engine.identity.tokens import new_nonce, new_session_token
from engine.miner import door_rules as rules
from engine.miner.door_ledger import Discovery, Entry, Ledger, Outcome
from engine.miner.door_limits import DoorLimits, TokenBuckets, address_key
from engine.miner.door_quota import SessionLimits, SessionQuota
from engine.miner.door_rules import Caller, Refusal
from engine.miner.ports import Access, Admission, Permit, ReadyNode
from engine.store.records import Opening, Session, SpentNonce
from engine.wire import convert
from engine.wire.messages import AuthAnswer, AuthCall, Dialect, DiscoverCall, WireNode

AUTHENTICATE = "AuthenticateValidator"
DISCOVER = "DiscoverNodes"
SESSION_LIFETIME_S = 3600
"""What deployed miners announce (protocol.md §3)."""
DISCOVERIES_AT_ONCE = 32

_NO_ACCESS = Access(nodes=(), failed=0, access_until=None)

log = structlog.get_logger()

T = TypeVar("T")


class Refused(Exception):
    """A call that ends in a status. Never leaves the door."""

    def __init__(self, refusal: Refusal, *, is_quiet: bool = False) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal
        self.is_quiet = is_quiet


@dataclass(frozen=True, slots=True)
class _Request:
    """The envelope of one call."""

    name: str
    dialect: Dialect
    body: bytes
    peer: str
    body_sha256: str


class _Running:
    """An accepted signature whose answer is still being made. A caller that goes away takes only its own wait along."""

    __slots__ = ("identity", "task", "waiting")

    def __init__(self, request: _Request) -> None:
        self.identity = (request.name, request.body_sha256, request.peer)
        self.waiting: list[asyncio.Future[bytes]] = []
        self.task: asyncio.Task[None] | None = None
        """Keeps the work alive; there is none where nothing but the ledger is waited for."""

    def wait(self) -> asyncio.Future[bytes]:
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.waiting.append(future)
        return future

    def finish(self, make_answer: Callable[[], bytes]) -> None:
        try:
            answer = make_answer()
        except Exception as error:  # noqa: BLE001 - whoever waits raises it
            for future in self.waiting:
                if not future.done():
                    future.set_exception(error)
            return
        for future in self.waiting:
            if not future.done():
                future.set_result(answer)


_Slot: TypeAlias = tuple[str, str]
"""A nonce, with the raw key of who may have used it."""


class DoorCalls:
    """Answers calls. Work that was begun is finished even if its caller goes away: ``drain`` waits for it."""

    def __init__(
        self,
        signer: Signer,
        admission: Admission,
        ledger: Ledger,
        *,
        clock: Clock,
        emit: EventSink,
        verify_signatures: bool,
        limits: DoorLimits,
        session_limits: SessionLimits,
    ) -> None:
        self._signer = signer
        self._admission = admission
        self._ledger = ledger
        self._clock = clock
        self._emit = emit
        self._verify_signatures = verify_signatures
        self._by_address = TokenBuckets(limits.per_address, limits.buckets)
        self._by_hotkey = TokenBuckets(limits.per_hotkey, limits.buckets)
        self._quota = SessionQuota(session_limits)
        self._running: dict[_Slot, _Running] = {}
        self._discoveries = asyncio.Semaphore(DISCOVERIES_AT_ONCE)

    async def authenticate(self, dialect: Dialect, body: bytes, peer: str) -> bytes:
        """The MinerAuthResponse to a ValidatorAuthRequest from the address ``peer``. Raises Refused."""
        return await self._answer(_request(AUTHENTICATE, dialect, body, peer), self._authenticate)

    async def discover(self, dialect: Dialect, body: bytes, peer: str) -> bytes:
        """The nodes, as ``convert.write_nodes`` writes them, for a DiscoverNodesRequest. Raises Refused."""
        return await self._answer(_request(DISCOVER, dialect, body, peer), self._discover)

    async def drain(self, grace_s: float) -> None:
        """Wait so long for work under way, then cancel it."""
        running = list(self._running.values())
        waits = [one.wait() for one in running]
        if not waits:
            return
        await asyncio.wait(waits, timeout=grace_s)
        tasks = [one.task for one in running if one.task is not None and not one.task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, *(wait for wait in waits if wait.done()), return_exceptions=True)

    # --- around every call ------------------------------------------------------------------------------------

    async def _answer(self, request: _Request, work: Callable[[_Request], Awaitable[bytes]]) -> bytes:
        try:
            self._knock(self._by_address, address_key(request.peer))
            return await work(request)
        except Refused as refused:
            self._report(request, refused)
            raise
        except StoreUnusable as error:
            log.error("door.store_failed", call=request.name, error=str(error))
            raise self._broken(request, rules.STORE_FAILED) from error
        except Exception as error:
            # The socket's door: whatever broke, the caller learns nothing of our insides and the engine goes on.
            log.exception("door.crashed", call=request.name, dialect=request.dialect)
            raise self._broken(request, rules.CRASHED) from error

    def _broken(self, request: _Request, refusal: Refusal) -> Refused:
        refused = Refused(refusal)
        self._report(request, refused)
        return refused

    def _report(self, request: _Request, refused: Refused) -> None:
        if refused.is_quiet:
            return
        self._emit(
            CallRefused(
                at=self._clock.now(),
                call=request.name,
                validator_hotkey=_claimed(request),
                dialect=request.dialect,
                peer=request.peer,
                status=refused.refusal.status,
                reason=refused.refusal.message,
            )
        )

    def _knock(self, buckets: TokenBuckets, key: str) -> None:
        verdict = buckets.take(key, self._clock.monotonic())
        if not verdict.is_allowed:
            # One event per row of refusals: a flood must not become a flood of events.
            raise Refused(rules.too_many(verdict.retry_after_s), is_quiet=not verdict.is_first)

    def _find_caller(self, call: AuthCall | DiscoverCall, request: _Request) -> Caller:
        caller = _or_refuse(rules.find_caller(call, self._signer.hotkey))
        self._knock(self._by_hotkey, f"{address_key(request.peer)} {caller.hotkey_hex}")
        return caller

    def _joined(self, request: _Request, slot: _Slot) -> asyncio.Future[bytes] | None:
        """A wait for the answer that is being made for this nonce, if the request is an identical one."""
        running = self._running.get(slot)
        if running is None:
            return None
        if running.identity != (request.name, request.body_sha256, request.peer):
            raise Refused(rules.NONCE_REUSED)
        return running.wait()

    def _begin(self, request: _Request, slot: _Slot) -> _Running:
        """Register the one piece of work for this nonce."""
        running = self._running[slot] = _Running(request)
        return running

    def _finish(self, slot: _Slot, make_answer: Callable[[], bytes]) -> None:
        running = self._running.pop(slot, None)
        if running is not None:
            running.finish(make_answer)

    async def _permit(self, hotkey: str) -> Permit:
        try:
            permit = await self._admission.permit(hotkey)
        except ChainUnavailable as error:
            log.warning("door.chain_unavailable", validator_hotkey=hotkey, error=str(error))
            raise Refused(rules.CHAIN_UNKNOWN) from error
        if not permit.permitted:
            raise Refused(rules.NOT_PERMITTED)
        return permit

    # --- AuthenticateValidator --------------------------------------------------------------------------------

    async def _authenticate(self, request: _Request) -> bytes:
        call = _read(convert.read_auth_call, request)
        caller = self._find_caller(call, request)
        key = rules.check_authentication(call, now=self._clock.now(), verify_signatures=self._verify_signatures)
        if isinstance(key, Refusal):
            raise Refused(key)
        slot = (caller.hotkey_hex, call.nonce)
        answer = self._joined(request, slot)
        if answer is None:
            permit = await self._permit(caller.hotkey)
            opened = [] if key is None else await self._ledger.openings(caller.hotkey)
            # Nothing is waited for from here until the work is registered, so no second one can start.
            answer = self._joined(request, slot)
            if answer is None:
                opening = self._claim(opened, caller, key, self._clock.now())
                answer = self._begin(request, slot).wait()
                self._open_session(request, call, caller, key, permit, opening)
        return await answer

    def _open_session(
        self,
        request: _Request,
        call: AuthCall,
        caller: Caller,
        key: PublicKey | None,
        permit: Permit,
        opening: Opening | None,
    ) -> None:
        """Begin to write the session; whoever waits hears when it is written. A task per call would cost too much."""
        now = self._clock.now()
        session = Session(
            hotkey=caller.hotkey,
            token=new_session_token(),
            issued_at=now,
            expires_at=float(int(now) + SESSION_LIFETIME_S),
            dialect=call.dialect,
            peer=request.peer,
            uid=permit.uid,
            stake_tao=permit.stake_tao,
            key_algorithm=key.algorithm if key else "",
            key_blob_base64=key.blob_base64 if key else "",
            key_fingerprint=key.fingerprint if key else "",
        )
        answer = self._signed_answer(call, session)
        spent = _spent(request, caller, call.nonce, answer, now)

        def stored(outcome: Outcome) -> None:
            if opening is not None:
                self._quota.release(opening)
            slot = (caller.hotkey_hex, call.nonce)
            self._finish(slot, lambda: self._session_opened(request, caller, session, answer, outcome))

        self._ledger.submit(Entry(caller.hotkey, spent, session, opening), stored)

    def _session_opened(
        self, request: _Request, caller: Caller, session: Session, answer: bytes, outcome: Outcome
    ) -> bytes:
        if isinstance(outcome, Exception):
            raise outcome
        if outcome.earlier is not None:
            return self._resent(request, outcome.earlier)
        self._watch_key(caller, outcome.previous, session.key_fingerprint, request.dialect)
        self._emit(
            ValidatorAuthenticated(
                at=session.issued_at,
                validator_hotkey=caller.hotkey,
                uid=session.uid,
                stake_tao=session.stake_tao,
                dialect=request.dialect,
                peer=request.peer,
                expires_at=session.expires_at,
            )
        )
        return answer

    def _claim(self, opened: Sequence[Opening], caller: Caller, key: PublicKey | None, now: float) -> Opening | None:
        """A place within the caller's session limits; a call that brings no key opens nothing yet."""
        if key is None:
            return None
        until = now + SESSION_LIFETIME_S
        claimed = self._quota.claim(opened, caller.hotkey, key.fingerprint, now=now, until=until)
        if isinstance(claimed, float):
            raise Refused(rules.too_many_sessions(claimed))
        return claimed

    def _signed_answer(self, call: AuthCall, session: Session) -> bytes:
        response_nonce = new_nonce()
        # The validator verifies with its own spelling of its hotkey, so that is what is signed.
        payload = payloads.miner_response(call.validator_hotkey, response_nonce, session.token)
        authority = self._admission.host_authority() if call.dialect == "B" else ""
        digest = hashlib.sha256(authority.encode()).hexdigest()
        vouched = payloads.host_authority(call.validator_hotkey, response_nonce, digest)
        return convert.write_auth_answer(
            call.dialect,
            AuthAnswer(
                authenticated=True,
                session_token=session.token,
                expires_at=int(session.expires_at),
                miner_hotkey=self._signer.hotkey,
                miner_signature=self._signer.sign(payload),
                response_nonce=response_nonce,
                host_authority=authority,
                host_authority_signature=self._signer.sign(vouched) if authority else "",
            ),
        )

    # --- DiscoverNodes ----------------------------------------------------------------------------------------

    async def _discover(self, request: _Request) -> bytes:
        call = _read(convert.read_discover_call, request)
        caller = self._find_caller(call, request)
        session = await self._ledger.session(caller.hotkey)
        key = _or_refuse(
            rules.check_discovery(call, session, now=self._clock.now(), verify_signatures=self._verify_signatures)
        )
        slot = (caller.hotkey_hex, call.nonce)
        answer = self._joined(request, slot)
        if answer is None:
            running = self._begin(request, slot)
            answer = running.wait()
            running.task = asyncio.create_task(self._give_nodes_to_all(slot, request, call, caller, key))
        return await answer

    async def _give_nodes_to_all(
        self, slot: _Slot, request: _Request, call: DiscoverCall, caller: Caller, key: PublicKey
    ) -> None:
        try:
            answer = await self._give_nodes(request, call, caller, key)
        except asyncio.CancelledError:
            self._finish(slot, _raiser(Refused(rules.CLOSING)))
            raise
        except Exception as error:  # noqa: BLE001 - whoever waits raises it
            self._finish(slot, _raiser(error))
        else:
            self._finish(slot, lambda: answer)

    async def _give_nodes(self, request: _Request, call: DiscoverCall, caller: Caller, key: PublicKey) -> bytes:
        earlier = await self._ledger.spent(caller.hotkey_hex, call.nonce)
        if earlier is not None:
            return self._resent(request, earlier)
        await self._permit(caller.hotkey)
        began = self._clock.monotonic()
        if not self._admission.is_assigned(caller.hotkey):
            return await self._list_nodes(request, call, caller, None, None, _NO_ACCESS, began)
        opening = self._claim(await self._ledger.openings(caller.hotkey), caller, key, self._clock.now())
        try:
            access = await self._admit(caller, key, call)
            if opening is not None and access.access_until is not None:
                opening = replace(opening, until=max(opening.until, access.access_until))
            return await self._list_nodes(request, call, caller, key, opening, access, began)
        finally:
            if opening is not None:
                self._quota.release(opening)

    async def _list_nodes(
        self,
        request: _Request,
        call: DiscoverCall,
        caller: Caller,
        used: PublicKey | None,
        opening: Opening | None,
        access: Access,
        began: float,
    ) -> bytes:
        """``used`` is None for a key that was put nowhere: it must not hide a change of the real one."""
        answer = convert.write_nodes(call.dialect, (_wire_node(node) for node in access.nodes))
        now = self._clock.now()
        discovery = Discovery(
            at=now,
            key_algorithm=used.algorithm if used else "",
            key_blob_base64=used.blob_base64 if used else "",
            key_fingerprint=used.fingerprint if used else "",
            nodes_ready=len(access.nodes),
            nodes_failed=access.failed,
            access_until=access.access_until,
        )
        spent = _spent(request, caller, call.nonce, answer, now)
        written = await self._ledger.write(Entry(caller.hotkey, spent, discovery, opening))
        if written.earlier is not None:
            return self._resent(request, written.earlier)
        self._watch_key(caller, written.previous, discovery.key_fingerprint, call.dialect)
        self._emit(
            DiscoveryAnswered(
                at=now,
                validator_hotkey=caller.hotkey,
                dialect=call.dialect,
                peer=request.peer,
                assigned=used is not None,
                nodes_ready=len(access.nodes),
                nodes_failed=access.failed,
                duration_ms=round((self._clock.monotonic() - began) * 1000, 1),
                key_fingerprint=discovery.key_fingerprint,
                access_until=access.access_until,
            )
        )
        return answer

    async def _admit(self, caller: Caller, key: PublicKey, call: DiscoverCall) -> Access:
        async with self._discoveries:
            try:
                return await self._admission.admit(
                    caller.hotkey, key, call.dialect, certificates=call.accepts_certificates
                )
            except PublicKeyRefused as error:
                raise Refused(rules.key_refused(error)) from error

    # --- both -------------------------------------------------------------------------------------------------

    def _resent(self, request: _Request, earlier: SpentNonce) -> bytes:
        answer = rules.judge_reuse(
            earlier,
            call=request.name,
            body_sha256=request.body_sha256,
            peer=request.peer,
            now=self._clock.now(),
        )
        return _or_refuse(answer)

    def _watch_key(self, caller: Caller, previous: Session | None, fingerprint: str, dialect: Dialect) -> None:
        known = previous.key_fingerprint if previous else ""
        if known and fingerprint and known != fingerprint:
            self._emit(
                ValidatorKeyChanged(
                    at=self._clock.now(),
                    validator_hotkey=caller.hotkey,
                    old_fingerprint=known,
                    new_fingerprint=fingerprint,
                    is_signed=dialect == "B",
                )
            )


def _request(name: str, dialect: Dialect, body: bytes, peer: str) -> _Request:
    return _Request(name, dialect, body, peer, hashlib.sha256(dialect.encode() + body).hexdigest())


def _raiser(error: Exception) -> Callable[[], bytes]:
    def make_answer() -> bytes:
        raise error

    return make_answer


def _read(reader: Callable[[Dialect, bytes], T], request: _Request) -> T:
    try:
        return reader(request.dialect, request.body)
    except WireMalformed as error:
        raise Refused(Refusal("INVALID_ARGUMENT", error.message)) from None


def _or_refuse(value: T | Refusal) -> T:
    if isinstance(value, Refusal):
        raise Refused(value)
    return value


def _spent(request: _Request, caller: Caller, nonce: str, answer: bytes, now: float) -> SpentNonce:
    return SpentNonce(
        hotkey_hex=caller.hotkey_hex,
        nonce=nonce,
        call=request.name,
        body_sha256=request.body_sha256,
        peer=request.peer,
        accepted_at=now,
        answer=answer,
    )


def _claimed(request: _Request) -> str:
    """The hotkey that a refused request names, if it can be read at all."""
    try:
        if request.name == AUTHENTICATE:
            return rules.claimed_hotkey(convert.read_auth_call(request.dialect, request.body).validator_hotkey)
        return rules.claimed_hotkey(convert.read_discover_call(request.dialect, request.body).validator_hotkey)
    except WireMalformed:
        return ""


def _wire_node(node: ReadyNode) -> WireNode:
    return WireNode(
        node_id=node.node_id,
        host=node.host,
        port=str(node.port),
        username=node.username,
        additional_opts=node.additional_opts,
        hourly_rate_cents=node.hourly_rate_cents,
        certificate=node.certificate,
        host_certificate=node.host_certificate,
    )
