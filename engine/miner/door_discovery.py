"""DiscoverNodes: an assigned validator's key goes to the nodes, and the ready ones are named."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from engine.clock import Clock
from engine.errors import PublicKeyRefused
from engine.events import DiscoveryAnswered, EventSink
from engine.identity.public_keys import PublicKey
from engine.miner import door_rules as rules
from engine.miner.door_desk import Desk
from engine.miner.door_ledger import Discovery, Entry, Ledger
from engine.miner.door_request import Refused, Request, or_refuse
from engine.miner.door_rules import Caller
from engine.miner.door_running import Slot, WorkUnderWay
from engine.miner.ports import Access, Admission, ReadyNode
from engine.store.records import Opening
from engine.wire import convert
from engine.wire.messages import DiscoverCall, WireNode

DISCOVERIES_AT_ONCE = 32

_NO_ACCESS = Access(nodes=(), failed=0, access_until=None)


class Discoveries:
    """Gives validators what they are assigned to."""

    def __init__(
        self,
        admission: Admission,
        ledger: Ledger,
        desk: Desk,
        under_way: WorkUnderWay,
        *,
        clock: Clock,
        emit: EventSink,
        verify_signatures: bool,
    ) -> None:
        self._admission = admission
        self._ledger = ledger
        self._desk = desk
        self._under_way = under_way
        self._clock = clock
        self._emit = emit
        self._verify_signatures = verify_signatures
        self._places = asyncio.Semaphore(DISCOVERIES_AT_ONCE)

    async def answer(self, request: Request) -> bytes:
        """The nodes, as ``convert.write_nodes`` writes them. Raises Refused."""
        call = request.read(convert.read_discover_call)
        caller = self._desk.find_caller(call, request)
        session = await self._ledger.session(caller.hotkey)
        key = or_refuse(
            rules.check_discovery(call, session, now=self._clock.now(), verify_signatures=self._verify_signatures)
        )
        slot = (caller.hotkey_hex, call.nonce)
        answer = self._under_way.joined(request, slot)
        if answer is None:
            running = self._under_way.begin(request, slot)
            answer = running.wait()
            running.task = asyncio.create_task(self._give_nodes_to_all(slot, request, call, caller, key))
        return await answer

    async def _give_nodes_to_all(
        self, slot: Slot, request: Request, call: DiscoverCall, caller: Caller, key: PublicKey
    ) -> None:
        try:
            answer = await self._give_nodes(request, call, caller, key)
        except asyncio.CancelledError:
            self._under_way.finish(slot, _raiser(Refused(rules.CLOSING)))
            raise
        except Exception as error:  # noqa: BLE001 - whoever waits raises it
            self._under_way.finish(slot, _raiser(error))
        else:
            self._under_way.finish(slot, lambda: answer)

    async def _give_nodes(self, request: Request, call: DiscoverCall, caller: Caller, key: PublicKey) -> bytes:
        earlier = await self._ledger.spent(caller.hotkey_hex, call.nonce)
        if earlier is not None:
            return request.resent(earlier, self._clock.now())
        await self._desk.permit(caller.hotkey)
        began = self._clock.monotonic()
        if not self._admission.is_assigned(caller.hotkey):
            return await self._list_nodes(request, call, caller, None, None, _NO_ACCESS, began)
        opening = self._desk.claim(await self._ledger.openings(caller.hotkey), caller, key)
        try:
            access = await self._admit(caller, key, call)
            if opening is not None and access.access_until is not None:
                opening = replace(opening, until=max(opening.until, access.access_until))
            return await self._list_nodes(request, call, caller, key, opening, access, began)
        finally:
            self._desk.release(opening)

    async def _admit(self, caller: Caller, key: PublicKey, call: DiscoverCall) -> Access:
        async with self._places:
            try:
                return await self._admission.admit(
                    caller.hotkey, key, call.dialect, certificates=call.accepts_certificates
                )
            except PublicKeyRefused as error:
                raise Refused(rules.key_refused(error)) from error

    async def _list_nodes(
        self,
        request: Request,
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
        spent = request.spent(caller, call.nonce, answer, now)
        written = await self._ledger.write(Entry(caller.hotkey, spent, discovery, opening))
        if written.earlier is not None:
            return request.resent(written.earlier, self._clock.now())
        is_signed = call.dialect == "B"
        self._desk.watch_key(caller.hotkey, written.previous, discovery.key_fingerprint, is_signed=is_signed)
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


def _raiser(error: Exception) -> Callable[[], bytes]:
    def make_answer() -> bytes:
        raise error

    return make_answer


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
