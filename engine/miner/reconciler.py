"""Makes each node's authorized_keys match the grant rows. One writer per node, idempotent, restartable anywhere.

Every hard case is the same case: read the rows, read the file, compute the wanted bytes, swap if the file is
still what was read, read back, record. A crash at any point leaves rows that say what is still to be done.
Here stands who may ask for that and how long it may take: what is done is in ``visit`` and ``removal``, when in
``reconcile_loop``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial

import structlog

from engine.clock import Clock
from engine.errors import BasilicaError, KeyFileRefused, SshTimeout, UnexpectedFault
from engine.events import EventSink, KeyFailed
from engine.miner.capabilities import CapabilitySource
from engine.miner.certifying import Certifying
from engine.miner.drift import DriftWatch, SeenLine
from engine.miner.grant_book import GrantBook
from engine.miner.grant_files import PlacementBook
from engine.miner.live_sessions import LiveSessions
from engine.miner.node_work import Limits, NodeOutcome, Work
from engine.miner.patience import Patience, not_changed
from engine.miner.reconcile_loop import CONCURRENT_NODES, ReconcileLoop
from engine.miner.removal import Removal
from engine.miner.visit import Matched, Visit
from engine.ssh.keyfile import read_key_file, read_other_files
from engine.ssh.pool import NodePool
from engine.ssh.target import NodeTarget
from engine.store.grants import GrantRepository

log = structlog.get_logger()

ENROLMENT_DEADLINES = 6
"""A visit in the background may get to know a node for this many node deadlines; a call of a validator may not."""
AUDIT_EVERY = 10
"""A node without work is read at every so many intervals."""


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
        self._clock = clock
        self._emit = emit
        self._limits = Limits(node_deadline_s, interval_s, audit_interval_s, adopt_leftovers)
        self._targets: dict[str, NodeTarget] = {}
        self._work: dict[str, Work] = {}
        self._slots = asyncio.Semaphore(CONCURRENT_NODES)
        self._loop = ReconcileLoop(
            self._targets,
            self._work,
            grants,
            self._limits,
            partial(self.reconcile, enrolment_deadlines=ENROLMENT_DEADLINES),
            self.take_away,
            self._slots,
            clock=clock,
        )
        grants.tell_damage(self._say_damaged)
        book = GrantBook(grants, clock=clock, emit=emit)
        self._removal = Removal(pool, book, sessions, placements, self._limits, clock=clock)
        self._visit = Visit(
            pool,
            book,
            capabilities,
            drift,
            sessions,
            certifying,
            placements,
            self._removal,
            self._limits,
            self._targets,
            self.wake,
            clock=clock,
            emit=emit,
        )

    def manage(self, targets: Iterable[NodeTarget]) -> None:
        """Nodes whose files may hold our keys: configured ones, and removed ones until they are clean."""
        for target in targets:
            self._targets[target.node_id] = target
            self._work.setdefault(target.node_id, Work())

    def set_limits(self, *, node_deadline_s: float, interval_s: float, adopt_leftovers: bool) -> None:
        """Work by other limits from the next reconciliation on."""
        self._limits.node_deadline_s, self._limits.interval_s = node_deadline_s, interval_s
        self._limits.audit_interval_s = interval_s * AUDIT_EVERY
        self._limits.adopt_leftovers = adopt_leftovers
        self.wake()

    def hold_file(self, node_id: str) -> asyncio.Lock:
        """Whoever holds this keeps the node's key file and rows from being changed meanwhile."""
        return self._work.setdefault(node_id, Work()).file

    def hold_visits(self, node_id: str) -> asyncio.Lock:
        """Whoever holds this keeps visits from the node: trial lines of its own would be taken out. Removal goes on."""
        return self._work.setdefault(node_id, Work()).turn

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
        self._loop.wake()

    async def settle(self) -> None:
        """Wait until no node's key file is being changed. An enrolment under way may still be sending its canary."""
        for work in tuple(self._work.values()):
            async with work.file:
                pass

    async def run(self) -> None:
        """Look for unfinished work for ever; see ``ReconcileLoop``."""
        await self._loop.run()

    async def sweep(self) -> None:
        """Take everything that ended off every node that is not backing off, all at once within their deadlines."""
        await self._loop.sweep()

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
        patience = Patience(self._limits.node_deadline_s, enrolment_deadlines)
        matched = Matched(frozenset(), {})
        operation = "reconcile"
        error: BasilicaError | None
        try:
            async with patience.limit, work.turn:
                target = self._targets.get(node_id, target)  # its address may have changed while we waited
                matched = await self._visit.match(
                    target, work, adopt_leftovers or self._limits.adopt_leftovers, patience
                )
            error, operation = matched.unfinished, matched.operation
        except TimeoutError:
            error = patience.ran_out(target)
        except BasilicaError as failure:
            error = failure
        except Exception as fault:  # noqa: BLE001 - whatever is wrong with one node, the others' keys must go in time
            error = _unexpected(target, fault)
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
            async with asyncio.timeout(self._limits.node_deadline_s), work.file:
                await self._removal.take_away(self._targets.get(node_id, target), work)
        except TimeoutError:
            error: BasilicaError = not_changed(target, self._limits.node_deadline_s)
        except BasilicaError as failure:
            error = failure
        except Exception as fault:  # noqa: BLE001 - as in reconcile
            error = _unexpected(target, fault)
        else:
            return None
        self._failed(node_id, work, "remove", error)
        return error

    def _failed(self, node_id: str, work: Work, operation: str, error: BasilicaError) -> None:
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

    def _say_damaged(self, grant_id: str, node_id: str, why: str) -> None:
        self.wake()
        self._emit(
            KeyFailed(
                at=self._clock.now(),
                node_id=node_id,
                operation="read row",
                error_code="row_damaged",
                message=f"grant {grant_id} makes no sense in the database: {why}",
                hint="its key is taken off and the others go on; restore a backup, or delete the row",
            )
        )

    async def bring_in_line(self, node_id: str) -> BasilicaError | None:
        """Reconcile a node now; why it does not fully match its rows, or None."""
        return (await self.reconcile(node_id)).error

    async def read(self, node_id: str) -> tuple[SeenLine, ...]:
        """Every key line of a node as it stands now; nothing is written. Raises SshFailure and KeyFileRefused."""
        target, work = self._targets[node_id], self._work[node_id]
        try:
            async with asyncio.timeout(self._limits.node_deadline_s), work.file:
                rows = await self._grants.open_for_node(node_id)
                state = await read_key_file(self._pool, target)
                return await self._visit.see(target, state.data, rows, await read_other_files(self._pool, target))
        except TimeoutError:
            raise SshTimeout(
                f"{target.address} did not show its keys within {self._limits.node_deadline_s:g} s"
            ) from None


def _unexpected(target: NodeTarget, fault: Exception) -> UnexpectedFault:
    log.error("reconciler.unexpected", node=target.node_id, exc_info=fault)
    return UnexpectedFault(
        f"the keys of {target.address}: {type(fault).__name__}: {fault}",
        hint="the other nodes go on and this one is tried again; please report it with the log",
    )
