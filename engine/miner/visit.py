"""One visit: a node's key file is made to say what its rows say, and what is read back goes into the rows.

Getting to know a slow node may take minutes. What has to go never waits for that: see ``removal``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from engine.clock import Clock
from engine.errors import BasilicaError, KeyFileRefused, SshChannelFailed
from engine.events import EventSink, ForeignKeysSeen, LeftoversAdopted
from engine.miner.capabilities import CapabilitySource, Enrolled, split_rows
from engine.miner.certifying import Certifying, Papers
from engine.miner.drift import DriftWatch, SeenLine
from engine.miner.grant_book import GrantBook
from engine.miner.grant_files import Placement, PlacementBook
from engine.miner.grants import expiry_second
from engine.miner.key_files import Order, Written, write
from engine.miner.live_sessions import LiveSessions
from engine.miner.node_work import Limits, Work
from engine.miner.patience import Patience
from engine.miner.removal import Removal
from engine.ssh.authorized_keys import WantedKey
from engine.ssh.canary import canary_ids
from engine.ssh.capability import Deadline, deadlines
from engine.ssh.keyfile import OtherFiles, read_other_files
from engine.ssh.pool import NodePool
from engine.ssh.target import NodeTarget
from engine.store.records import Grant

STALE_ROWS_S = 1.0
"""Rows are read again after an enrolment that took longer."""


@dataclass(frozen=True, slots=True)
class Matched:
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


class Visit:
    """What is done on one node while its turn is held."""

    def __init__(
        self,
        pool: NodePool,
        book: GrantBook,
        capabilities: CapabilitySource,
        drift: DriftWatch,
        sessions: LiveSessions,
        certifying: Certifying,
        placements: PlacementBook,
        removal: Removal,
        limits: Limits,
        targets: Mapping[str, NodeTarget],
        wake: Callable[[], None],
        *,
        clock: Clock,
        emit: EventSink,
    ) -> None:
        self._pool = pool
        self._book = book
        self._capabilities = capabilities
        self._drift = drift
        self._sessions = sessions
        self._certifying = certifying
        self._placements = placements
        self._removal = removal
        self._limits = limits
        self._targets = targets
        self._wake = wake
        self._clock = clock
        self._emit = emit

    async def match(self, target: NodeTarget, work: Work, adopt_leftovers: bool, patience: Patience) -> Matched:
        """Read the rows, get to know the node, write its key file, record; the caller holds ``work.turn``."""
        async with work.file:
            placement = await self._placements.of(target)
            rows = await self._book.end_expired(target.node_id)
            now, taken = self._clock.now(), work.taken
            live, gone = split_rows(rows, now, None)
            if live and gone and not self._capabilities.knows(target.node_id):
                await self._removal.take_away(target, work)
        with patience.of_enrolment():
            enrolled, refusal = await self._enrol(target, placement, rows, live)
        async with work.file:
            if self._targets.get(target.node_id, target) != target:  # it moved to another address meanwhile
                self._wake()
                return Matched(frozenset(), {})
            if work.taken != taken or self._clock.now() - now > STALE_ROWS_S:
                rows = await self._book.end_expired(target.node_id)
                now = self._clock.now()
            return await self._bring(target, work, placement, rows, now, enrolled, refusal, adopt_leftovers)

    async def _bring(
        self,
        target: NodeTarget,
        work: Work,
        placement: Placement,
        rows: Sequence[Grant],
        now: float,
        enrolled: Enrolled | None,
        refusal: BasilicaError | None,
        adopt_leftovers: bool,
    ) -> Matched:
        live = [g for g in rows if g.is_wanted(now)]
        wanted_rows, gone_rows = split_rows(rows, now, refusal)
        wanted = await self._wanted(target, wanted_rows, enrolled)
        damaged = self._book.damaged_on(target.node_id)
        order = self._order(target, live, wanted_rows, gone_rows, wanted, now, adopt_leftovers)
        written = await write(self._pool, target, placement, order)
        in_place, reasons = await self._record(target, wanted_rows, wanted, enrolled, written)
        step = "end sessions"
        try:
            await self._removal.end_sessions(target, gone_rows, live, written)
            if written.unfinished is not None:
                operation = "other key file" if written.is_written else "deploy"
                return Matched(in_place, reasons, wanted.papers, operation, written.unfinished)
            await self._book.removed(target.node_id, gone_rows, damaged)
            step = "audit"
            await self._audit(target, work, written, rows, live)
        except BasilicaError as failure:  # what was read back as in place is, and is handed out
            return Matched(in_place, reasons, wanted.papers, step, failure)
        return Matched(in_place, reasons, wanted.papers, "deploy", refusal if live else None)

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
        managed = {*(g.id for g in gone_rows), *self._book.damaged, *certified, *canary_ids(own, target)}
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
        if not live and (rows or self._book.damaged_on(target.node_id)):
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

    async def _audit(
        self, target: NodeTarget, work: Work, written: Written, rows: Sequence[Grant], live: Sequence[Grant]
    ) -> None:
        """Judge every line; once per audit period look into the other files and at who is inside, too."""
        others = None
        if work.is_audit_due(self._clock.monotonic(), self._limits.audit_interval_s):
            others = await read_other_files(self._pool, target)
            await self._sessions.watch(target, live)
            work.audited_at = self._clock.monotonic()
        lines = await self.see(target, written.data, rows, others, written.root)
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

    async def see(
        self,
        target: NodeTarget,
        data: bytes,
        rows: Sequence[Grant],
        others: OtherFiles | None,
        root: bytes | None = None,
    ) -> tuple[SeenLine, ...]:
        """Judge every line of a key file; one that is neither ours nor the operator's becomes an event."""
        own = self._pool.own_blobs
        known = {*(g.id for g in rows), *canary_ids(own, target), self._certifying.line_id(target.node_id)}
        return await self._drift.see(target, data, own, known, others=others, root=root)


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
