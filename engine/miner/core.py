"""The miner's core: admission of validators to the fleet, and everything that ends an admission.

The door asks it (``Admission``), the chain moves it (assignment, permits), the operator may overrule it.
It never touches a node itself: it writes grant rows and lets the reconciler make the nodes follow.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence

from engine.chain import Metagraph
from engine.chain.cached import MetagraphCache
from engine.clock import Clock
from engine.errors import ChainUnavailable, PublicKeyRefused
from engine.events import (
    AssignmentChanged,
    CertificateIssued,
    EventSink,
    GrantEnded,
    GrantRestored,
    GrantWritten,
    SessionEnded,
    SessionRestored,
)
from engine.identity.public_keys import PublicKey
from engine.miner.assignment import NOBODY, Assignment, Policy, assignment_from_json, choose
from engine.miner.certifying import Certifying, Papers
from engine.miner.fleet import FleetNode
from engine.miner.grants import (
    END_EXPIRED,
    END_NO_PERMIT,
    END_NODE_REMOVED,
    END_REPLACED,
    END_UNASSIGNED,
    Wrapping,
    is_wrapped,
    key_held_by_other,
    plan_grants,
)
from engine.miner.membership import Membership
from engine.miner.node_work import NodeOutcome
from engine.miner.ports import Access, Permit, ReadyNode
from engine.miner.reconciler import Reconciler
from engine.store import Store
from engine.store.records import Grant, Session
from engine.wire.messages import Dialect

PERMIT_RECHECK_AFTER_S = 60.0
"""A caller without permit in a metagraph older than this gets one fresh read before it is refused."""

ASSIGNMENT_KEY = "miner.assignment"


class MinerCore:
    """Who may enter, decided from the chain and the operator's policy; remembered in the store."""

    def __init__(
        self,
        nodes: Sequence[FleetNode],
        store: Store,
        metagraph: MetagraphCache,
        reconciler: Reconciler,
        own_blobs: Callable[[], frozenset[str]],
        certifying: Certifying,
        is_out: Callable[[str], bool],
        *,
        wrapping: Wrapping,
        policy: Policy,
        clock: Clock,
        emit: EventSink,
        session_lifetime_s: float,
    ) -> None:
        self._members = Membership(nodes, store, reconciler, clock=clock, emit=emit)
        self._store = store
        self._metagraph = metagraph
        self._reconciler = reconciler
        self._own_blobs = own_blobs
        self._certifying = certifying
        self._is_out = is_out
        self._wrapping = wrapping
        self._policy = policy
        self._clock = clock
        self._emit = emit
        self._session_lifetime_s = session_lifetime_s
        self._assignment = self._stored_assignment = NOBODY
        self._last_reason: dict[str, str] = {}
        self._deciding = asyncio.Lock()
        """Held from reading the open grants to writing what follows from them."""

    @property
    def members(self) -> Membership:
        """The nodes that the configuration names, and those that have left it with keys on them."""
        return self._members

    @property
    def assignment(self) -> Assignment:
        """The current choice."""
        return self._assignment

    async def restore(self) -> None:
        """Take over what the last run knew: nodes, grants of nodes that left the config, the assignment."""
        now = self._clock.now()
        async with self._members.lock:
            await self._members.register(now)
            open_grants = await self._store.grants.open()
            self._say_restored(open_grants, await self._store.sessions.all(), now)
            await self._end_on_gone_nodes(open_grants)
        restored = assignment_from_json(await self._store.keyvalue.get(ASSIGNMENT_KEY))
        if restored is not None:
            self._assignment = self._stored_assignment = restored
            self._say_assignment()

    # --- what the configuration changes -----------------------------------------------------------------------

    async def replace_nodes(self, nodes: Sequence[FleetNode]) -> None:
        """Serve these nodes from the next discovery on; access to those that left ends and their keys are removed."""
        async with self._members.lock:
            # Set before the rows are read: a discovery under way ends what it still writes for a node that left.
            self._members.take(nodes)
            await self._members.register(self._clock.now())
            await self._end_on_gone_nodes(await self._store.grants.open())

    def set_policy(self, policy: Policy) -> None:
        """Choose by another policy, from the next ``reassign`` on."""
        self._policy = policy

    def set_wrapping(self, wrapping: Wrapping) -> None:
        """Wrap the sessions of others, from the next discovery on."""
        self._wrapping = wrapping

    def set_session_lifetime(self, seconds: float) -> None:
        """Grant for another time, from the next discovery on; what was granted keeps its end."""
        self._session_lifetime_s = seconds

    async def _end_on_gone_nodes(self, open_grants: Sequence[Grant]) -> None:
        orphaned = [g for g in open_grants if g.node_id not in self._members.nodes and g.ended_at is None]
        await self._end(orphaned, END_NODE_REMOVED)

    # --- what the door asks -----------------------------------------------------------------------------------

    async def permit(self, hotkey: str) -> Permit:
        """See ``Admission.permit``. Raises ChainUnavailable."""
        metagraph, age_s = self._metagraph.current()
        neuron = metagraph.by_hotkey(hotkey)
        if (neuron is None or not neuron.validator_permit) and age_s > PERMIT_RECHECK_AFTER_S:
            metagraph = await self._metagraph.refresh()
            neuron = metagraph.by_hotkey(hotkey)
        if neuron is None:
            return Permit(False, None, None)
        return Permit(neuron.validator_permit, neuron.uid, neuron.stake_tao)

    def is_assigned(self, hotkey: str) -> bool:
        """See ``Admission.is_assigned``."""
        return self._assignment.admits(hotkey)

    def host_authority(self) -> str:
        """See ``Admission.host_authority``."""
        return self._certifying.host_authority

    async def admit(self, hotkey: str, key: PublicKey, dialect: Dialect, *, certificates: bool = False) -> Access:
        """See ``Admission.admit``. Raises PublicKeyRefused."""
        nodes = {i: n for i, n in self._members.nodes.items() if not self._is_out(i)}
        certified = certificates and self._certifying.is_on
        async with self._deciding:
            if not self._is_let_in(hotkey):  # the chain was read since the door asked
                return Access((), 0, None)
            grants = await self._grant(hotkey, key, dialect, tuple(nodes), certified=certified)
        outcomes = await self._reconciler.reconcile_many(tuple(nodes))
        return self._access(grants, outcomes, nodes)

    def is_served(self, node_id: str) -> bool:
        """Whether the configuration names this node."""
        return node_id in self._members.nodes

    async def grant(
        self, hotkey: str, key: PublicKey, dialect: Dialect, node_ids: Sequence[str], *, certified: bool = False
    ) -> tuple[Grant, ...]:
        """Write this validator's grants for these nodes, one session lifetime from now; touches no node.

        Raises PublicKeyRefused.
        """
        async with self._deciding:
            return await self._grant(hotkey, key, dialect, node_ids, certified=certified)

    def _is_let_in(self, hotkey: str) -> bool:
        try:
            neuron = self._metagraph.current()[0].by_hotkey(hotkey)
        except ChainUnavailable:
            return self.is_assigned(hotkey)  # what the door was told a moment ago stands
        return neuron is not None and neuron.validator_permit and self.is_assigned(hotkey)

    async def _grant(
        self, hotkey: str, key: PublicKey, dialect: Dialect, node_ids: Sequence[str], *, certified: bool
    ) -> tuple[Grant, ...]:
        if key.blob_base64 in self._own_blobs():
            raise PublicKeyRefused("this is the miner's own node key", hint="send a key of your own")
        open_grants = await self._store.grants.open()
        if key_held_by_other(open_grants, hotkey, key.blob_base64) is not None:
            raise PublicKeyRefused("this key is in use by another validator", hint="send a key of your own")
        written = await self._write_plan(open_grants, hotkey, key, dialect, node_ids, certified=certified)
        left = set(node_ids) - {grant.node_id for grant in written}
        if left:  # their grants ended while this was decided: new ones
            open_grants = await self._store.grants.open()
            again = [i for i in node_ids if i in left]
            written += await self._write_plan(open_grants, hotkey, key, dialect, again, certified=certified)
        return written

    async def _write_plan(
        self,
        open_grants: Sequence[Grant],
        hotkey: str,
        key: PublicKey,
        dialect: Dialect,
        node_ids: Sequence[str],
        *,
        certified: bool,
    ) -> tuple[Grant, ...]:
        now = self._clock.now()
        plan = plan_grants(
            open_grants,
            node_ids,
            hotkey,
            key,
            now=now,
            lifetime_s=self._session_lifetime_s,
            new_id=lambda: secrets.token_hex(6),
            wrapped=is_wrapped(self._wrapping, dialect),
            certified=certified,
        )
        known = {g.id for g in open_grants}
        new = [g for g in plan.put if g.id not in known]
        prolonged = await self._store.grants.grant(new, [g for g in plan.put if g.id in known])
        written = tuple(g for g in plan.put if g.id not in known or g.id in prolonged)
        await self._end(plan.end, END_REPLACED)
        await self._end([g for g in written if g.node_id not in self._members.nodes], END_NODE_REMOVED)
        for grant in written:
            self._emit(
                GrantWritten(
                    at=now,
                    grant_id=grant.id,
                    node_id=grant.node_id,
                    validator_hotkey=hotkey,
                    key_fingerprint=grant.fingerprint,
                    expires_at=grant.expires_at,
                    renewed=grant.id in known,
                )
            )
        return written

    def _access(
        self, grants: Sequence[Grant], outcomes: dict[str, NodeOutcome], nodes: Mapping[str, FleetNode]
    ) -> Access:
        ready = []
        refused_keys = 0
        for grant in grants:
            outcome = outcomes.get(grant.node_id) or NodeOutcome(grant.node_id)
            if grant.id in outcome.in_place and grant.node_id in self._members.nodes:
                papers = outcome.papers.get(grant.id)
                ready.append(_ready_node(nodes[grant.node_id], papers))
                if papers is not None:
                    self._say_certified(grant, papers)
            elif grant.id in outcome.refused:
                refused_keys += 1
        if grants and refused_keys == len(grants):
            raise PublicKeyRefused("this key is in use on the nodes already", hint="send a key of your own")
        return Access(tuple(ready), len(grants) - len(ready), grants[0].expires_at if ready else None)

    def _say_certified(self, grant: Grant, papers: Papers) -> None:
        self._emit(
            CertificateIssued(
                at=self._clock.now(),
                grant_id=grant.id,
                node_id=grant.node_id,
                validator_hotkey=grant.hotkey,
                serial=f"{papers.serial:d}",
                key_id=papers.key_id,
                expires_at=grant.expires_at,
            )
        )

    # --- what ends an admission -------------------------------------------------------------------------------

    async def reassign(self) -> None:
        """Choose again from a fresh metagraph and end the access of whoever is no longer let in.

        Raises ChainUnavailable; the last choice stands then.
        """
        metagraph = await self._metagraph.refresh()
        async with self._deciding:
            await self._reassign(metagraph)

    async def _reassign(self, metagraph: Metagraph) -> None:
        chosen = choose(self._policy, metagraph.validators())
        if chosen != self._assignment:
            self._assignment = chosen
            self._say_assignment()
        try:
            if chosen != self._stored_assignment:
                await self._store.keyvalue.put(ASSIGNMENT_KEY, chosen.to_json())
                self._stored_assignment = chosen
        finally:  # a full disk keeps nobody in whom the chain has put out
            await self._end_whom_nobody_admits(metagraph, chosen)

    async def _end_whom_nobody_admits(self, metagraph: Metagraph, chosen: Assignment) -> None:
        permitted = {n.hotkey for n in metagraph.validators()}
        open_grants = [g for g in await self._store.grants.open() if g.ended_at is None]
        await self._end([g for g in open_grants if g.hotkey not in permitted], END_NO_PERMIT)
        await self._end(
            [g for g in open_grants if g.hotkey in permitted and not chosen.admits(g.hotkey)], END_UNASSIGNED
        )

    async def end_access(self, reason: str, *, only: Callable[[Grant], bool] = lambda grant: True) -> int:
        """End every wanted grant that ``only`` accepts; returns how many. The reconciler removes the keys."""
        async with self._deciding:
            ending = [g for g in await self._store.grants.open() if g.ended_at is None and only(g)]
            await self._end(ending, reason)
        return len(ending)

    async def _end(self, grants: Sequence[Grant], reason: str) -> None:
        if not grants:
            return
        now = self._clock.now()
        await self._store.grants.end([g.id for g in grants], now, reason)
        for grant in grants:
            self._last_reason[grant.hotkey] = reason
            self._emit(
                GrantEnded(
                    at=now, grant_id=grant.id, node_id=grant.node_id, validator_hotkey=grant.hotkey, reason=reason
                )
            )
        self._reconciler.wake()

    async def close_finished_sessions(self) -> None:
        """Mark sessions as ended whose last key is gone from every node that answers."""
        now = self._clock.now()
        still_open: set[str] = set()
        reasons: dict[str, str] = {}
        for grant in await self._store.grants.open():
            if grant.is_wanted(now) or not self._reconciler.is_failing(grant.node_id):
                still_open.add(grant.hotkey)
            reasons[grant.hotkey] = grant.end_reason
        for session in await self._store.sessions.all():
            if session.hotkey in still_open or session.ended_at is not None or session.access_until is None:
                continue
            reason = reasons.get(session.hotkey) or self._last_reason.get(session.hotkey, END_EXPIRED)
            if not await self._store.sessions.end(session, now, reason):
                continue
            self._emit(SessionEnded(at=now, validator_hotkey=session.hotkey, reason=reason))

    def _say_restored(self, grants: Sequence[Grant], sessions: Sequence[Session], now: float) -> None:
        for grant in grants:
            if grant.is_wanted(now):
                self._emit(
                    GrantRestored(
                        at=now,
                        grant_id=grant.id,
                        node_id=grant.node_id,
                        validator_hotkey=grant.hotkey,
                        expires_at=grant.expires_at,
                        is_in_place=grant.deployed_exp is not None,
                    )
                )
        for session in sessions:
            if session.ended_at is None:
                self._emit(
                    SessionRestored(
                        at=now,
                        validator_hotkey=session.hotkey,
                        uid=session.uid,
                        stake_tao=session.stake_tao,
                        dialect=session.dialect,
                        peer=session.peer,
                        authenticated_at=session.issued_at,
                        token_expires_at=session.expires_at,
                        last_discovery_at=session.last_discovery_at,
                        access_until=session.access_until,
                        nodes_ready=session.nodes_ready,
                        nodes_failed=session.nodes_failed,
                        key_fingerprint=session.key_fingerprint,
                    )
                )

    def _say_assignment(self) -> None:
        chosen = self._assignment
        self._emit(
            AssignmentChanged(
                at=self._clock.now(),
                strategy=chosen.mode,
                validator_hotkey=chosen.hotkey,
                uid=chosen.uid,
                stake_tao=chosen.stake_tao,
                reason=chosen.reason,
            )
        )


def _ready_node(node: FleetNode, papers: Papers | None) -> ReadyNode:
    target = node.target
    return ReadyNode(
        node_id=node.node_id,
        host=target.host,
        port=target.port,
        username=target.username,
        additional_opts=node.additional_opts,
        hourly_rate_cents=node.hourly_rate_cents,
        certificate="" if papers is None else papers.certificate,
        host_certificate="" if papers is None else papers.host_certificate,
    )
