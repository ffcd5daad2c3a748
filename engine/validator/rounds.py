"""Rounds over all miners: who they are now, their nodes, and for each node the verification that is due.

Lightweight checks are part of a round; full ones go to the queue of ``engine.validator.checks``. No miner is asked
twice at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from engine.chain import Metagraph
from engine.chain.cached import MetagraphCache
from engine.clock import Clock
from engine.config.validator import ValidatorConfig
from engine.errors import BasilicaError, MinerUnreachable
from engine.events import (
    EventSink,
    MinerAnswered,
    MinerDiscovered,
    MinerFailed,
    MinerMoved,
    MinerSkipped,
    VerificationsRefused,
)
from engine.identity import Signer
from engine.scores.history import Tier
from engine.store import Store
from engine.validator.book import Book, Known
from engine.validator.breath import Breath
from engine.validator.checks import NodeChecks, guarded
from engine.validator.due import Due
from engine.validator.miner_client import ClientTimeouts, MinerClient, MinerNodes
from engine.validator.miner_nodes import OfferedNode
from engine.validator.papers import use_papers
from engine.validator.registry import Registration, compare_registry, registry_from_json, registry_to_json
from engine.validator.schedule import decide
from engine.validator.sessions import Session, Sessions
from engine.validator.slots import Seat, Seats
from engine.validator.targets import MinerTarget, Outsider, survey
from engine.wire.messages import Dialect

log = structlog.get_logger()

DISCOVERY_LIMIT_S = 120.0
"""What a miner gets for everything that it is asked, retries included, as the deployed validator gives it."""
PUBLIC_NETWORKS = ("finney", "test")
SEAT_PATIENCE_S = 20.0
"""A visit in which nothing happens for so long lets another miner's begin: neither a silent miner nor hung nodes hold
up a round."""
STILL_PER_SEAT = 4
"""So many such visits per place may go on beside; 50 places have room for a whole subnet."""


class Rounds:
    """Visits miners and verifies nodes. ``finish`` ends what runs."""

    def __init__(
        self,
        config: ValidatorConfig,
        checks: NodeChecks,
        sessions: Sessions,
        *,
        store: Store,
        book: Book,
        signer: Signer,
        metagraph: MetagraphCache,
        breath: Breath,
        clock: Clock,
        emit: EventSink,
    ) -> None:
        self._config = config.verification
        self._checks = checks
        self._sessions = sessions
        self._store = store
        self._book = book
        self._signer = signer
        self._metagraph = metagraph
        self._clock = clock
        self._emit = emit
        self._network = config.bittensor.network
        self._registry_key = f"validator.registry:{config.bittensor.netuid}"
        at_once = self._config.max_concurrent_verifications
        self._seats = Seats(at_once, room=STILL_PER_SEAT * at_once, patience_s=SEAT_PATIENCE_S)
        self._dialects: dict[str, Dialect] = {}
        self._breath = breath
        self._visiting: dict[str, asyncio.Task[None]] = {}
        self._skipped: dict[str, Outsider] = {}

    async def run(self, *, patience_s: float, force_full: bool = False) -> None:
        """One round. Returns when all miners were seen, or after ``patience_s``: slow ones go on by themselves.

        Raises ChainUnavailable.
        """
        metagraph = await self._metagraph.refresh()
        await self._follow_registry(metagraph)
        await self._sessions.sweep()
        miners, others = survey(
            metagraph,
            is_local=self._network == "local",
            is_public=self._network in PUBLIC_NETWORKS,
            port_offset=self._config.grpc_port_offset or 0,
        )
        self._tell_skipped(others)
        known = await self._book.known()
        started = []
        for miner in miners:
            self._emit(
                MinerDiscovered(at=self._clock.now(), hotkey=miner.hotkey, uid=miner.uid, endpoint=miner.endpoint)
            )
            if miner.hotkey in self._visiting:
                log.info("verification.miner_busy", hotkey=miner.hotkey)
                continue
            task = asyncio.create_task(guarded(self._visit(miner, known, force_full=force_full)))
            self._visiting[miner.hotkey] = task
            task.add_done_callback(lambda done, hotkey=miner.hotkey: self._visiting.pop(hotkey, None))  # type: ignore[misc]
            started.append(task)
        if started:
            await asyncio.wait(started, timeout=patience_s)

    @property
    def full_in_flight(self) -> int:
        """Full verifications that are queued or running."""
        return len(self._checks.full_tasks)

    async def wait_idle(self) -> None:
        """Wait for everything that is queued or running."""
        while tasks := self._tasks():
            await asyncio.wait(tasks)

    async def finish(self) -> None:
        """End everything that is queued or running."""
        tasks = self._tasks()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _tasks(self) -> list[asyncio.Task[None]]:
        return [*self._visiting.values(), *self._checks.full_tasks]

    def _tell_skipped(self, others: Sequence[Outsider]) -> None:
        for one in others:
            if one.hotkey != self._signer.hotkey and self._skipped.get(one.hotkey) != one:
                self._emit(
                    MinerSkipped(
                        at=self._clock.now(), hotkey=one.hotkey, uid=one.uid, endpoint=one.endpoint, reason=one.reason
                    )
                )
        self._skipped = {one.hotkey: one for one in others}

    async def _follow_registry(self, metagraph: Metagraph) -> None:
        """Let nodes follow their owner to another uid or hotkey, and forget those of miners that lost their uid."""
        now = {neuron.hotkey: Registration(neuron.uid, neuron.coldkey) for neuron in metagraph.neurons}
        known = registry_from_json(await self._store.keyvalue.get(self._registry_key))
        if known == now:
            return
        change = compare_registry(known, now)
        if change:
            await self._store.validated.follow(moved=change.moved, swapped=change.swapped, gone=change.gone)
            for old, new in change.swapped.items():
                self._emit(MinerMoved(at=self._clock.now(), hotkey=new, old_hotkey=old, uid=now[new].uid))
            for hotkey, uid in change.moved.items():
                self._emit(MinerMoved(at=self._clock.now(), hotkey=hotkey, old_hotkey=hotkey, uid=uid))
            for hotkey in change.gone:
                self._emit(MinerMoved(at=self._clock.now(), hotkey="", old_hotkey=hotkey, uid=known[hotkey].uid))
        await self._store.keyvalue.put(self._registry_key, registry_to_json(now))

    # --- one miner --------------------------------------------------------------------------------------------

    async def _visit(self, miner: MinerTarget, known: Known, *, force_full: bool) -> None:
        async with self._seats.taken() as seat, self._sessions.entered(miner.hotkey) as session:
            await self._breath.drawn()
            offer = await self._discover(miner, session)
            await seat.taken_again()
            offered = () if offer is None else offer.nodes
            session.opened.update(node.node_id for node in offered)
            ids = {node.node_id for node in offered}
            # As deployed, nodes that the miner left out are tried too, where this session's key was put before.
            rest = [
                n for n in known.nodes.get(miner.hotkey, ()) if n.node_id not in ids and n.node_id in session.opened
            ]
            refused = 0
            async with asyncio.TaskGroup() as group:
                for node in (*offered, *rest):
                    # What the miner left out comes without papers: those of the last answer hold.
                    authority = offer.host_authority if offer is not None and node.node_id in ids else None
                    due = await self._prepare(miner, node, session, known, authority, force_full=force_full)
                    if due is None:
                        continue
                    if due.tier == "lightweight":
                        group.create_task(self._check(due, seat))
                    elif not self._checks.enqueue(due):
                        refused += 1
                if refused:
                    self._tell_refused(miner, refused)

    async def _check(self, due: Due, seat: Seat) -> None:
        await self._checks.check_lightly(due)
        seat.moved()

    def _tell_refused(self, miner: MinerTarget, nodes: int) -> None:
        queued = self.full_in_flight
        self._emit(
            VerificationsRefused(
                at=self._clock.now(), miner_hotkey=miner.hotkey, miner_uid=miner.uid, nodes=nodes, queued=queued
            )
        )

    async def _prepare(
        self,
        miner: MinerTarget,
        node: OfferedNode,
        session: Session,
        known: Known,
        host_authority: str | None,
        *,
        force_full: bool,
    ) -> Due | None:
        """What is due; None when the node is being checked already, or banned."""
        place = miner.hotkey, node.node_id
        if self._checks.is_busy(place):
            return None
        if place in known.bans:
            await self._checks.refuse_banned(Due(miner, node, session), known.bans[place])
            return None
        history = known.history(place)
        decision = decide(history, self._clock.now(), self._config.node_validation_interval)
        # Nobody's word makes a rented node work for us: its GPUs are somebody else's now.
        tier: Tier = "full" if force_full and not history.is_rented else decision.tier
        reason = "an operator asked for it" if force_full else decision.reason
        held = known.held.get(place, frozenset())
        due = Due(miner, node, session, held, is_rented=history.is_rented, tier=tier, reason=reason)
        if host_authority is not None:
            await use_papers(session.pool, due.target, node, host_authority, self._clock.now())
        return due

    async def _discover(self, miner: MinerTarget, session: Session) -> MinerNodes | None:
        """The miner's answer; None when there is none that can be used."""
        started = self._clock.monotonic()
        client = MinerClient(
            miner.endpoint,
            self._signer,
            miner.hotkey,
            clock=self._clock,
            dialects=self._dialects,
            timeouts=ClientTimeouts(authenticate_s=self._config.discovery_timeout),
        )
        try:
            async with asyncio.timeout(DISCOVERY_LIMIT_S):
                offer = await client.discover(session.key.public_line)
        except TimeoutError:
            error: BasilicaError = MinerUnreachable(
                f"miner {miner.hotkey} at {miner.endpoint}: no answer within {DISCOVERY_LIMIT_S:g} s"
            )
        except BasilicaError as failure:
            error = failure
        else:
            self._emit(
                MinerAnswered(
                    at=self._clock.now(),
                    hotkey=miner.hotkey,
                    uid=miner.uid,
                    dialect=offer.dialect,
                    nodes=len(offer.nodes),
                    duration_ms=round((self._clock.monotonic() - started) * 1000, 1),
                )
            )
            return offer
        self._emit(
            MinerFailed(
                at=self._clock.now(),
                hotkey=miner.hotkey,
                uid=miner.uid,
                stage="discovery",
                error_code=error.code,
                message=error.message,
            )
        )
        return None
