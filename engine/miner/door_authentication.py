"""AuthenticateValidator: a signature is checked, a session is written, the answer is signed."""

from __future__ import annotations

import hashlib

from engine.clock import Clock
from engine.events import EventSink, ValidatorAuthenticated
from engine.identity import payloads
from engine.identity.public_keys import PublicKey
from engine.identity.signatures import Signer
from engine.identity.tokens import new_nonce, new_session_token
from engine.miner import door_rules as rules
from engine.miner.door_desk import SESSION_LIFETIME_S, Desk
from engine.miner.door_ledger import Entry, Ledger, Outcome
from engine.miner.door_request import Request, or_refuse
from engine.miner.door_rules import Caller
from engine.miner.door_running import WorkUnderWay
from engine.miner.ports import Admission, Permit
from engine.store.records import Opening, Session
from engine.wire import convert
from engine.wire.messages import AuthAnswer, AuthCall


class Authentication:
    """Opens sessions for validators."""

    def __init__(
        self,
        signer: Signer,
        admission: Admission,
        ledger: Ledger,
        desk: Desk,
        under_way: WorkUnderWay,
        *,
        clock: Clock,
        emit: EventSink,
        verify_signatures: bool,
    ) -> None:
        self._signer = signer
        self._admission = admission
        self._ledger = ledger
        self._desk = desk
        self._under_way = under_way
        self._clock = clock
        self._emit = emit
        self._verify_signatures = verify_signatures

    async def answer(self, request: Request) -> bytes:
        """The MinerAuthResponse. Raises Refused."""
        call = request.read(convert.read_auth_call)
        caller = self._desk.find_caller(call, request)
        key = or_refuse(
            rules.check_authentication(call, now=self._clock.now(), verify_signatures=self._verify_signatures)
        )
        slot = (caller.hotkey_hex, call.nonce)
        answer = self._under_way.joined(request, slot)
        if answer is None:
            permit = await self._desk.permit(caller.hotkey)
            opened = [] if key is None else await self._ledger.openings(caller.hotkey)
            # Nothing is waited for from here until the work is registered, so no second one can start.
            answer = self._under_way.joined(request, slot)
            if answer is None:
                opening = self._desk.claim(opened, caller, key)
                answer = self._under_way.begin(request, slot).wait()
                self._open_session(request, call, caller, key, permit, opening)
        return await answer

    def _open_session(
        self,
        request: Request,
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
        spent = request.spent(caller, call.nonce, answer, now)

        def stored(outcome: Outcome) -> None:
            self._desk.release(opening)
            slot = (caller.hotkey_hex, call.nonce)
            self._under_way.finish(slot, lambda: self._session_opened(request, session, answer, outcome))

        self._ledger.submit(Entry(caller.hotkey, spent, session, opening), stored)

    def _session_opened(self, request: Request, session: Session, answer: bytes, outcome: Outcome) -> bytes:
        if isinstance(outcome, Exception):
            raise outcome
        if outcome.earlier is not None:
            return request.resent(outcome.earlier, self._clock.now())
        is_signed = request.dialect == "B"
        self._desk.watch_key(session.hotkey, outcome.previous, session.key_fingerprint, is_signed=is_signed)
        self._emit(
            ValidatorAuthenticated(
                at=session.issued_at,
                validator_hotkey=session.hotkey,
                uid=session.uid,
                stake_tao=session.stake_tao,
                dialect=request.dialect,
                peer=request.peer,
                expires_at=session.expires_at,
            )
        )
        return answer

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
