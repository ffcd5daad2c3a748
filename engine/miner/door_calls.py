"""The two calls of MinerDiscovery from bytes to bytes, and what becomes of one that goes wrong."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import structlog

from engine.clock import Clock
from engine.errors import StoreUnusable
from engine.events import CallRefused, EventSink
from engine.identity.signatures import Signer
from engine.miner import door_rules as rules
from engine.miner.door_authentication import Authentication
from engine.miner.door_desk import Desk
from engine.miner.door_discovery import Discoveries
from engine.miner.door_ledger import Ledger
from engine.miner.door_limits import DoorLimits
from engine.miner.door_quota import SessionLimits
from engine.miner.door_request import AUTHENTICATE, DISCOVER, Refused, Request, envelope
from engine.miner.door_rules import Refusal
from engine.miner.door_running import WorkUnderWay
from engine.miner.ports import Admission
from engine.wire.messages import Dialect

log = structlog.get_logger()


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
        self._clock = clock
        self._emit = emit
        self._under_way = WorkUnderWay()
        self._desk = Desk(signer, admission, clock=clock, emit=emit, limits=limits, session_limits=session_limits)
        self._authentication = Authentication(
            signer,
            admission,
            ledger,
            self._desk,
            self._under_way,
            clock=clock,
            emit=emit,
            verify_signatures=verify_signatures,
        )
        self._discoveries = Discoveries(
            admission,
            ledger,
            self._desk,
            self._under_way,
            clock=clock,
            emit=emit,
            verify_signatures=verify_signatures,
        )

    async def authenticate(self, dialect: Dialect, body: bytes, peer: str) -> bytes:
        """The MinerAuthResponse to a ValidatorAuthRequest from the address ``peer``. Raises Refused."""
        return await self._answer(envelope(AUTHENTICATE, dialect, body, peer), self._authentication.answer)

    async def discover(self, dialect: Dialect, body: bytes, peer: str) -> bytes:
        """The nodes, as ``convert.write_nodes`` writes them, for a DiscoverNodesRequest. Raises Refused."""
        return await self._answer(envelope(DISCOVER, dialect, body, peer), self._discoveries.answer)

    async def drain(self, grace_s: float) -> None:
        """Wait so long for work under way, then cancel it."""
        await self._under_way.drain(grace_s)

    async def _answer(self, request: Request, work: Callable[[Request], Awaitable[bytes]]) -> bytes:
        try:
            self._desk.let_in(request.peer)
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

    def _broken(self, request: Request, refusal: Refusal) -> Refused:
        refused = Refused(refusal)
        self._report(request, refused)
        return refused

    def _report(self, request: Request, refused: Refused) -> None:
        if refused.is_quiet:
            return
        self._emit(
            CallRefused(
                at=self._clock.now(),
                call=request.name,
                validator_hotkey=request.claimed_hotkey(),
                dialect=request.dialect,
                peer=request.peer,
                status=refused.refusal.status,
                reason=refused.refusal.message,
            )
        )
