"""Makes each node's authorized_keys match the grant rows. One writer per node, idempotent, restartable anywhere.

Every hard case is the same case: read the rows, read the file, compute the wanted bytes, swap if the file is
still what was read, read back, record. A crash at any point leaves rows that say what is still to be done.

Getting to know a slow node may take minutes. What has to go never waits for that: see ``take_away``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from engine.clock import Clock, sleep_or_wake
from engine.errors import BasilicaError, KeyFileRefused, SshChannelFailed, SshFailure, SshTimeout
from engine.events import (
    EventSink,
    ForeignKeysSeen,
    KeyFailed,
    LeftoversAdopted,
)
from engine.miner.backoff import Backoff
from engine.miner.capabilities import CapabilitySource, Enrolled, split_rows
from engine.miner.certifying import Certifying, Papers
from engine.miner.drift import DriftWatch, SeenLine
from engine.miner.grant_book import GrantBook
from engine.miner.grant_files import Placement, PlacementBook
from engine.miner.grants import expiry_second, needs_work, next_change_at
from engine.miner.key_files import Order, Written, write
from engine.miner.live_sessions import LiveSessions
from engine.miner.patience import Patience, not_changed
from engine.ssh.authorized_keys import WantedKey
from engine.ssh.canary import canary_ids
from engine.ssh.capability import Deadline, deadlines
from engine.ssh.keyfile import OtherFiles, read_key_file, read_other_files
from engine.ssh.pool import NodePool
from engine.ssh.target import NodeTarget
from engine.store.grants import GrantRepository
from engine.store.records import Grant

CONCURRENT_NODES = 64
"""In the calls of others; as many again in the background, so that neither waits for the other's nodes."""
ENROLMENT_DEADLINES = 6
"""A visit in the background may get to know a node for this many node deadlines; a call of a validator may not."""
AUDIT_EVERY = 10
"""A node without work is read at every so many intervals."""
STALE_ROWS_S = 1.0
"""Rows are read again after an enrolment that took longer."""


@dataclass(frozen=True, slots=True)
class NodeOutcome:
    """What one reconciliation achieved: grants whose key was read back, or why not."""

    node_id: str
    in_place: frozenset[str] = frozenset()
    refused: Mapping[str, str] = field(default_factory=dict)
    """Grant ids whose key must not be written there, with the reason."""
    papers: Mapping[str, Papers] = field(default_factory=dict)
    """What to give those of ``in_place`` that enter by certificate."""
    error: BasilicaError | None = None
    """Why the node does not fully match its rows; some keys may be in place all the same."""


@dataclass(frozen=True, slots=True)
class _Matched:
    """A visit that came to its end. ``unfinished`` is what has to be tried again."""

    in_place: frozenset[str]
    refused: Mapping[str, str]
    papers: Mapping[str, Papers] = field(default_factory=dict)
    operation: str = ""
    unfinished: BasilicaError | None = None


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What the key file should say: lines, the rows behind the authority's line, and papers for these."""

    lines: Sequence[WantedKey] = ()
    certified: Sequence[Grant] = ()
    papers: Mapping[str, Papers] = field(default_factory=dict)


@dataclass(slots=True)
class _Work:
    """One node's memory between reconciliations."""

    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    """One visit at a time: held from beginning to end, through an enrolment that takes minutes."""
    file: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Rows and key file are being changed: held for that only, and after ``turn`` by whoever takes both."""
    backoff: Backoff = field(default_factory=Backoff)
    audited_at: float | None = None
    taken: int = 0
    """How often keys were taken off beside a visit: rows that it has read before are stale."""
    is_visited: bool = False
    """Whether a visit in the background is under way or waits for its turn."""
    is_relieved: bool = False
    """Whether ended grants are being taken off beside that visit."""


class Reconciler:
    """All nodes' key files. ``reconcile`` is called by discoveries, ``run`` keeps what they left unfinished."""

    def __init__(
        self,
        pool: NodePool,
        grants: GrantRepository,
        capabilities: CapabilitySource,
        drift: DriftWatch,
        sessions: LiveSessions,
        certifying: Certifying,
        placements: PlacementBook,
        *,
        clock: Clock,
        emit: EventSink,
        node_deadline_s: float,
        interval_s: float,
        audit_interval_s: float,
        adopt_leftovers: bool,
    ) -> None:
        self._pool = pool
        self._grants = grants
        self._capabilities = capabilities
        self._drift = drift
        self._sessions = sessions
        self._certifying = certifying
        self._placements = placements
        self._book = GrantBook(grants, clock=clock, emit=emit)
        self._clock = clock
        self._emit = emit
        self._node_deadline_s = node_deadline_s
        self._interval_s = interval_s
        self._audit_interval_s = audit_interval_s
        self._adopt_leftovers = adopt_leftovers
        self._targets: dict[str, NodeTarget] = {}
        self._work: dict[str, _Work] = {}
        self._wake = asyncio.Event()
        self._slots = asyncio.Semaphore(CONCURRENT_NODES)
        self._background_slots = asyncio.Semaphore(CONCURRENT_NODES)

    def manage(self, targets: Iterable[NodeTarget]) -> None:
        """Nodes whose files may hold our keys: configured ones, and removed ones until they are clean."""
        for target in targets:
            self._targets[target.node_id] = target
            self._work.setdefault(target.node_id, _Work())

    def set_limits(self, *, node_deadline_s: float, interval_s: float, adopt_leftovers: bool) -> None:
        """Work by other limits from the next reconciliation on."""
        self._node_deadline_s, self._interval_s = node_deadline_s, interval_s
        self._audit_interval_s = interval_s * AUDIT_EVERY
        self._adopt_leftovers = adopt_leftovers
        self.wake()

    def hold_file(self, node_id: str) -> asyncio.Lock:
        """Whoever holds this keeps the node's key file and rows from being changed meanwhile."""
        return self._work.setdefault(node_id, _Work()).file

    def hold_visits(self, node_id: str) -> asyncio.Lock:
        """Whoever holds this keeps visits from the node: trial lines of its own would be taken out. Removal goes on."""
        return self._work.setdefault(node_id, _Work()).turn

    @asynccontextmanager
    async def hold(self, node_id: str) -> AsyncIterator[None]:
        """Inside of this the node is not visited, and nothing in its key file and rows is changed."""
        async with self.hold_visits(node_id), self.hold_file(node_id):
            yield

    def forget(self, node_id: str) -> None:
        """Stop managing a node that is clean and no longer configured."""
        self._targets.pop(node_id, None)
        self._work.pop(node_id, None)

    @property
    def targets(self) -> Mapping[str, NodeTarget]:
        """Every managed node by its id."""
        return self._targets

    def is_failing(self, node_id: str) -> bool:
        """Whether the last attempt on this node failed."""
        work = self._work.get(node_id)
        return work is not None and work.backoff.failures > 0

    def retry_now(self, node_id: str) -> None:
        """The node answers again: do not wait for the end of its back-off."""
        work = self._work.get(node_id)
        if work is not None and work.backoff.failures:
            work.backoff.succeeded()
            self.wake()

    def wake(self) -> None:
        """Rows changed: look again now, not at the next interval."""
        self._wake.set()

    async def settle(self) -> None:
        """Wait until no node's key file is being changed. An enrolment under way may still be sending its canary."""
        for work in tuple(self._work.values()):
            async with work.file:
                pass

    async def run(self) -> None:
        """Look for unfinished work at each interval, at each expiry, and when woken; audit idle nodes.

        A node that is slow to get to know is visited on while the others' turns go on; what ends there meanwhile is
        taken off beside that visit.
        """
        async with asyncio.TaskGroup() as visits:
            while True:
                started: list[asyncio.Task[None]] = []
                due, ended = await self._due()
                for node_id in due:
                    work = self._work[node_id]
                    waits = work.is_visited or self._background_slots.locked()
                    if not work.is_visited:
                        work.is_visited = True
                        started.append(visits.create_task(self._visit(node_id, work)))
                    if waits and node_id in ended and not work.is_relieved and not work.file.locked():
                        work.is_relieved = True
                        started.append(visits.create_task(self._relieve(node_id, work)))
                if not started or await self._are_over(started):
                    await sleep_or_wake(self._clock, await self._until_next_s(), self._wake)

    async def sweep(self) -> None:
        """Take everything that ended off every node that is not backing off, all at once within their deadlines."""
        _, ended = await self._due()

        async def one(node_id: str) -> None:
            async with self._slots:
                if node_id in self._targets:
                    await self.take_away(node_id)

        async with asyncio.TaskGroup() as group:
            for node_id in ended:
                group.create_task(one(node_id))

    async def _visit(self, node_id: str, work: _Work) -> None:
        try:
            async with self._background_slots:
                if node_id in self._targets:  # else it was forgotten while it waited for its turn
                    await self.reconcile(node_id, enrolment_deadlines=ENROLMENT_DEADLINES)
        finally:
            work.is_visited = False

    async def _relieve(self, node_id: str, work: _Work) -> None:
        try:
            async with self._slots:  # those of the background may all be with slow nodes
                if work.is_visited and node_id in self._targets:
                    await self.take_away(node_id)
        finally:
            work.is_relieved = False

    async def _are_over(self, started: Sequence[asyncio.Task[None]]) -> bool:
        """Wait for these; False when something else is to be done before they all have come to their end."""
        over = asyncio.ensure_future(asyncio.wait(started))
        waker = asyncio.ensure_future(self._wake.wait())
        try:
            limit_s = min(self._node_deadline_s, await self._until_next_s())
            await asyncio.wait({over, waker}, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
            if over.done():
                return True
        finally:
            over.cancel()
            waker.cancel()
        self._wake.clear()
        for task in started:
            if not task.done():
                task.add_done_callback(lambda _: self.wake())  # its rows may have changed under it
        return False

    async def _due(self) -> tuple[list[str], frozenset[str]]:
        """Nodes with something to do now, and those among them from which something has to go."""
        now = self._clock.now()
        rows = await self._grants.open()
        by_node: dict[str, list[Grant]] = {node_id: [] for node_id in self._targets}
        for grant in rows:
            by_node.setdefault(grant.node_id, []).append(grant)
        due = [node_id for node_id, grants in by_node.items() if self._is_due(node_id, grants, now)]
        return due, frozenset(i for i in due if any(not g.is_wanted(now) for g in by_node[i]))

    async def reconcile_many(self, node_ids: Sequence[str]) -> dict[str, NodeOutcome]:
        """Reconcile these nodes in parallel; a node that fails or hangs costs nothing but itself."""

        async def one(node_id: str) -> NodeOutcome:
            async with self._slots:
                if node_id not in self._targets:  # it was forgotten while it waited for its turn
                    return NodeOutcome(node_id)
                return await self.reconcile(node_id)

        async with asyncio.TaskGroup() as group:
            tasks = {node_id: group.create_task(one(node_id)) for node_id in node_ids if node_id in self._targets}
        return {node_id: task.result() for node_id, task in tasks.items()}

    async def reconcile(
        self, node_id: str, *, adopt_leftovers: bool = False, enrolment_deadlines: int = 1
    ) -> NodeOutcome:
        """Make one node match its rows within the node deadline. Never raises for a node's fault.

        With more than one of ``enrolment_deadlines`` an enrolment gets that many for itself, and the rest a whole one:
        what an enrolment learned is kept only when it came to its end, so a slow node would be begun with forever.
        """
        target, work = self._targets[node_id], self._work[node_id]
        patience = Patience(self._node_deadline_s, enrolment_deadlines)
        matched = _Matched(frozenset(), {})
        operation = "reconcile"
        error: BasilicaError | None
        try:
            async with patience.limit, work.turn:
                target = self._targets.get(node_id, target)  # its address may have changed while we waited
                matched = await self._match(target, work, adopt_leftovers or self._adopt_leftovers, patience)
            error, operation = matched.unfinished, matched.operation
        except TimeoutError:
            error = patience.ran_out(target)
        except BasilicaError as failure:
            error = failure
        if error is None:
            work.backoff.succeeded()
        else:
            self._failed(node_id, work, operation, error)
        return NodeOutcome(node_id, matched.in_place, matched.refused, matched.papers, error)

    async def take_away(self, node_id: str) -> BasilicaError | None:
        """Take every ended grant off one node within the node deadline, and nothing else; why that failed, or None.

        It runs beside a visit that gets to know the node: its trial lines stay, and nothing waits for its logins.
        """
        target, work = self._targets[node_id], self._work[node_id]
        try:
            async with asyncio.timeout(self._node_deadline_s), work.file:
                await self._take_away(self._targets.get(node_id, target), work)
        except TimeoutError:
            error: BasilicaError = not_changed(target, self._node_deadline_s)
        except BasilicaError as failure:
            error = failure
        else:
            return None
        self._failed(node_id, work, "remove", error)
        return error

    async def _take_away(self, target: NodeTarget, work: _Work) -> None:
        rows = await self._book.end_expired(target.node_id)
        live, gone = split_rows(rows, self._clock.now(), None)
        if not gone:
            return
        work.taken += 1
        # Not what ran out by the clock without a row: that may be the trial line that must be refused, and be there.
        order = Order((), frozenset(g.id for g in gone), frozenset(), self._pool.own_blobs, 0.0, adopt_leftovers=False)
        written = await write(self._pool, target, await self._placements.of(target), order)
        await self._end_sessions(target, gone, live, written)
        if written.unfinished is not None:
            raise written.unfinished
        await self._book.removed(target.node_id, gone)

    def _failed(self, node_id: str, work: _Work, operation: str, error: BasilicaError) -> None:
        retry_in_s = work.backoff.failed(self._clock.monotonic())
        self._emit(
            KeyFailed(
                at=self._clock.now(),
                node_id=node_id,
                operation=operation,
                error_code=error.reason if isinstance(error, KeyFileRefused) else error.code,
                message=error.message,
                hint=error.hint,
                retry_in_s=round(retry_in_s, 1),
            )
        )

    async def bring_in_line(self, node_id: str) -> BasilicaError | None:
        """Reconcile a node now; why it does not fully match its rows, or None."""
        return (await self.reconcile(node_id)).error

    async def read(self, node_id: str) -> tuple[SeenLine, ...]:
        """Every key line of a node as it stands now; nothing is written. Raises SshFailure and KeyFileRefused."""
        target, work = self._targets[node_id], self._work[node_id]
        try:
            async with asyncio.timeout(self._node_deadline_s), work.file:
                rows = await self._grants.open_for_node(node_id)
                state = await read_key_file(self._pool, target)
                return await self._see(target, state.data, rows, await read_other_files(self._pool, target))
        except TimeoutError:
            raise SshTimeout(f"{target.address} did not show its keys within {self._node_deadline_s:g} s") from None

    async def _match(self, target: NodeTarget, work: _Work, adopt_leftovers: bool, patience: Patience) -> _Matched:
        async with work.file:
            placement = await self._placements.of(target)
            rows = await self._book.end_expired(target.node_id)
            now, taken = self._clock.now(), work.taken
            live, gone = split_rows(rows, now, None)
            if live and gone and not self._capabilities.knows(target.node_id):
                await self._take_away(target, work)
        with patience.of_enrolment():
            enrolled, refusal = await self._enrol(target, placement, rows, live)
        async with work.file:
            if self._targets.get(target.node_id, target) != target:  # it moved to another address meanwhile
                self.wake()
                return _Matched(frozenset(), {})
            if work.taken != taken or self._clock.now() - now > STALE_ROWS_S:
                rows = await self._book.end_expired(target.node_id)
                now = self._clock.now()
            return await self._bring(target, work, placement, rows, now, enrolled, refusal, adopt_leftovers)

    async def _bring(
        self,
        target: NodeTarget,
        work: _Work,
        placement: Placement,
        rows: Sequence[Grant],
        now: float,
        enrolled: Enrolled | None,
        refusal: BasilicaError | None,
        adopt_leftovers: bool,
    ) -> _Matched:
        live = [g for g in rows if g.is_wanted(now)]
        wanted_rows, gone_rows = split_rows(rows, now, refusal)
        wanted = await self._wanted(target, wanted_rows, enrolled)
        order = self._order(target, live, wanted_rows, gone_rows, wanted, now, adopt_leftovers)
        written = await write(self._pool, target, placement, order)
        in_place, reasons = await self._record(target, wanted_rows, wanted, enrolled, written)
        step = "end sessions"
        try:
            await self._end_sessions(target, gone_rows, live, written)
            if written.unfinished is not None:
                operation = "other key file" if written.is_written else "deploy"
                return _Matched(in_place, reasons, wanted.papers, operation, written.unfinished)
            await self._book.removed(target.node_id, gone_rows)
            step = "audit"
            await self._audit(target, work, written, rows, live)
        except SshFailure as failure:
            return _Matched(in_place, reasons, wanted.papers, step, failure)
        return _Matched(in_place, reasons, wanted.papers, "deploy", refusal if live else None)

    def _order(
        self,
        target: NodeTarget,
        live: Sequence[Grant],
        wanted_rows: Sequence[Grant],
        gone_rows: Sequence[Grant],
        wanted: _Wanted,
        now: float,
        adopt_leftovers: bool,
    ) -> Order:
        own, authority = self._pool.own_blobs, self._certifying.line_id(target.node_id)
        certified = {g.id for g in wanted.certified}
        managed = {*(g.id for g in gone_rows), *certified, *canary_ids(own, target)}
        if wanted_rows or not any(g.certified for g in live):
            managed.add(authority)  # it goes when nobody enters by it; where new keys are refused it stands as it is
        standing = frozenset({*certified, authority} if certified else ())
        return Order(wanted.lines, frozenset(managed), standing, own, now, adopt_leftovers)

    async def _record(
        self,
        target: NodeTarget,
        rows: Sequence[Grant],
        wanted: _Wanted,
        enrolled: Enrolled | None,
        written: Written,
    ) -> tuple[frozenset[str], Mapping[str, str]]:
        """What was read back, into the rows; the grants in place, and why others are not."""
        if not written.is_written:
            return frozenset(), {}
        refused = {key.grant_id: key for key in written.change.refused}
        if (why := refused.pop(self._certifying.line_id(target.node_id), None)) is not None:
            refused |= {g.id: replace(why, grant_id=g.id) for g in wanted.certified}
        placed = [g for g in rows if g.id not in refused]
        form = "none" if enrolled is None else enrolled.capability.expiry_form
        await self._book.deployed(target.node_id, placed, form, {g.id for g in wanted.certified})
        await self._book.refused(target.node_id, [g for g in rows if g.id in refused], refused)
        return frozenset(g.id for g in placed), {grant_id: key.reason for grant_id, key in refused.items()}

    async def _enrol(
        self, target: NodeTarget, placement: Placement, rows: Sequence[Grant], live: Sequence[Grant]
    ) -> tuple[Enrolled | None, BasilicaError | None]:
        """What the node can do, and why no new key may go there. What cannot be found out forbids no removal."""
        if rows and not live:
            return None, None
        try:
            enrolled = await self._capabilities.enrolled(target, placement.wanted_in_root)
        except (SshChannelFailed, KeyFileRefused) as failure:
            if len(live) == len(rows):
                raise
            return None, failure
        return enrolled, enrolled.refusal

    async def _wanted(self, target: NodeTarget, rows: Sequence[Grant], enrolled: Enrolled | None) -> _Wanted:
        if enrolled is None:
            return _Wanted()
        ends = await deadlines(self._pool, target, enrolled.capability, {expiry_second(g) for g in rows})
        certified = self._certifying.certified(rows, enrolled)
        lines = [
            _wanted_key(g, ends[expiry_second(g)], g.wrapped and enrolled.can_wrap) for g in rows if g not in certified
        ]
        authority = self._certifying.line(target.node_id, certified, ends)
        papers = self._certifying.issue(target, certified, ends, enrolled)
        return _Wanted(lines if authority is None else [*lines, authority], certified, papers)

    async def _end_sessions(
        self, target: NodeTarget, gone: Sequence[Grant], live: Sequence[Grant], written: Written
    ) -> None:
        """A removed key ends no session. Half of the node's time at most: its new keys must not wait for it."""
        try:
            async with asyncio.timeout(self._node_deadline_s / 2):
                await self._sessions.end(target, gone, live, written.blobs)
        except TimeoutError:
            raise SshTimeout(
                f"sessions of ended grants on {target.address} were not ended in time",
                hint="it is tried again; see what runs there with: ps -u " + target.username,
            ) from None

    async def _audit(
        self, target: NodeTarget, work: _Work, written: Written, rows: Sequence[Grant], live: Sequence[Grant]
    ) -> None:
        """Judge every line; once per audit period look into the other files and at who is inside, too."""
        others = None
        if self._is_audit_due(work):
            others = await read_other_files(self._pool, target)
            await self._sessions.watch(target, live)
            work.audited_at = self._clock.monotonic()
        lines = await self._see(target, written.data, rows, others, written.root)
        self._emit(
            ForeignKeysSeen(
                at=self._clock.now(),
                node_id=target.node_id,
                operator_keys=sum(line.kind in {"operator", "own", "drift"} for line in lines),
                leftovers=sum(line.kind == "leftover" for line in lines),
                orphans=sum(line.kind == "orphan" for line in lines),
            )
        )
        if count := written.leftovers_removed:
            self._emit(LeftoversAdopted(at=self._clock.now(), node_id=target.node_id, count=count))

    async def _see(
        self,
        target: NodeTarget,
        data: bytes,
        rows: Sequence[Grant],
        others: OtherFiles | None,
        root: bytes | None = None,
    ) -> tuple[SeenLine, ...]:
        own = self._pool.own_blobs
        known = {*(g.id for g in rows), *canary_ids(own, target), self._certifying.line_id(target.node_id)}
        return await self._drift.see(target, data, own, known, others=others, root=root)

    def _is_due(self, node_id: str, grants: Sequence[Grant], now: float) -> bool:
        work = self._work.get(node_id)
        if work is None:
            return False
        at = self._clock.monotonic()
        if not work.backoff.is_ready(at):
            return False
        if any(needs_work(g, now) for g in grants):
            return True
        return self._is_audit_due(work)

    def _is_audit_due(self, work: _Work) -> bool:
        at = self._clock.monotonic()
        return work.audited_at is None or at - work.audited_at >= self._audit_interval_s

    async def _until_next_s(self) -> float:
        now = self._clock.now()
        change_at = next_change_at(await self._grants.open(), now)
        return self._interval_s if change_at is None else min(self._interval_s, max(0.05, change_at - now + 0.05))


def _wanted_key(grant: Grant, end: Deadline, is_wrapped: bool) -> WantedKey:
    return WantedKey(
        grant_id=grant.id,
        holder=f"validator-{grant.hotkey}",
        algorithm=grant.algorithm,
        blob_base64=grant.blob_base64,
        expires_at_unix=expiry_second(grant),
        expiry_text=end.expiry_text,
        session_deadline_unix=end.unix if is_wrapped else None,
    )
