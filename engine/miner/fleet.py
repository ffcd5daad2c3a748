"""The miner's nodes: who they are, and a health check of each at its interval over the persistent connection."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog

from engine.clock import Clock, sleep_or_wake
from engine.config.miner import NodeConfig
from engine.errors import BasilicaError, ProbeFailed, SshFailure, SshHostKeyChanged, SshTimeout
from engine.events import EventSink, NodeAdded, NodeChecked, NodeStateChanged, ServiceCrashed, ServiceStarted
from engine.miner.fleet_book import FleetBook, NodeMemory
from engine.miner.fleet_schedule import Schedule
from engine.miner.node_state import Health, after_check
from engine.probes.gpu import GpuFacts, probe_gpu_table
from engine.probes.host import probe_host
from engine.ssh.pool import ConnectionInfo, NodePool
from engine.ssh.target import NodeTarget

log = structlog.get_logger()

CONCURRENT_CHECKS = 64
PATIENCE_S = 1.0
"""A check that takes longer goes on without its slot, so that nodes which do not answer delay nobody."""
LOGIN_GUARD_S = 120.0
HOST_TIMEOUT_S = 25.0
MAX_FAULT = 200
"""Characters of an error that nobody foresaw."""
FIRST_WAVE_S = 0.02
"""Between the first checks of two nodes."""


@dataclass(frozen=True, slots=True)
class FleetNode:
    """One configured node."""

    target: NodeTarget
    label: str
    additional_opts: str = ""
    hourly_rate_cents: int | None = None
    declared_gpus: int | None = None

    @property
    def node_id(self) -> str:
        return self.target.node_id


def fleet_from_config(entries: Iterable[NodeConfig]) -> tuple[FleetNode, ...]:
    """The nodes in the file's order; an ``id`` there overrides the derived one."""
    nodes = []
    for number, entry in enumerate(entries, start=1):
        rate = entry.hourly_rate_per_gpu
        nodes.append(
            FleetNode(
                target=NodeTarget(node_id=entry.node_id, host=entry.host, port=entry.port, username=entry.username),
                label=entry.name or f"node-{number:02d}",
                additional_opts=entry.additional_opts or "",
                hourly_rate_cents=None if rate is None else round(rate * 100),
                declared_gpus=entry.gpu_count,
            )
        )
    return tuple(nodes)


@dataclass(slots=True)
class _Finding:
    """What one check came to know."""

    latency_ms: float = 0.0
    error: BasilicaError | None = None
    gpus: GpuFacts | None = None
    connection: ConnectionInfo | None = None


class Fleet:
    """Checks every node and says what it found. What it learns is kept in ``book``."""

    def __init__(
        self,
        nodes: Iterable[FleetNode],
        pool: NodePool,
        book: FleetBook,
        *,
        clock: Clock,
        emit: EventSink,
        schedule: Schedule,
        timeout_s: float,
    ) -> None:
        self.nodes: Mapping[str, FleetNode] = {n.node_id: n for n in nodes}
        self.book = book
        self._pool = pool
        self._clock = clock
        self._emit = emit
        self._schedule = schedule
        self._timeout_s = timeout_s
        self._slots = asyncio.Semaphore(CONCURRENT_CHECKS)
        self._wake = {node_id: asyncio.Event() for node_id in self.nodes}
        self._changed = asyncio.Event()
        self._watchers: dict[FleetNode, asyncio.Task[None]] = {}
        for node in self.nodes.values():
            book.add(node.node_id, node.declared_gpus, node.label)

    def replace_nodes(self, nodes: Iterable[FleetNode]) -> None:
        """Watch these from now on. What is known of a node stays while its address does; its ramp always."""
        before, self.nodes = self.nodes, {n.node_id: n for n in nodes}
        # Here and not in ``run``: a watcher must not take another step for a node whose memory goes.
        for node in set(self._watchers).difference(self.nodes.values()):
            self._watchers.pop(node).cancel()
        for node_id, node in before.items():
            kept = self.nodes.get(node_id)
            if kept is None:
                self.book.remove(node_id)
                self._wake.pop(node_id, None)
            elif kept.target != node.target:
                self.book.move(node_id)
        for node in self.nodes.values():
            self.book.add(node.node_id, node.declared_gpus, node.label)
            self._wake.setdefault(node.node_id, asyncio.Event())
        self._changed.set()

    def set_pace(self, *, schedule: Schedule, timeout_s: float) -> None:
        """Check at another pace, from the next check of each node on."""
        self._schedule, self._timeout_s = schedule, timeout_s
        for wake in self._wake.values():
            wake.set()

    def announce(self, nodes: Iterable[FleetNode] | None = None) -> None:
        """Emit NodeAdded for each configured node, or for these."""
        for node in self.nodes.values() if nodes is None else nodes:
            target = node.target
            self._emit(
                NodeAdded(
                    at=self._clock.now(),
                    node_id=node.node_id,
                    label=node.label,
                    host=target.host,
                    port=target.port,
                    username=target.username,
                )
            )

    def health(self, node_id: str) -> Health:
        """What is known of one node; KeyError for one that the fleet does not have."""
        return self.book[node_id].health

    def check_soon(self, node_id: str) -> None:
        """Let the node's next check run now."""
        self._wake[node_id].set()

    async def run(self) -> None:
        """Check every node at the interval, spread over it, for ever; nodes come and go meanwhile."""
        self._watchers.clear()
        async with asyncio.TaskGroup() as group:
            while True:
                self._changed.clear()
                fresh = [node for node in self.nodes.values() if node not in self._watchers]
                self._watchers |= {n: group.create_task(self._watch(n, index)) for index, n in enumerate(fresh)}
                await self._changed.wait()

    async def sweep(self) -> int:
        """Check every node once, as fast as the slots allow; returns how many passed."""
        checks = await asyncio.gather(*(self._check_in_turn(node) for node in tuple(self.nodes.values())))
        return sum(checked.ok for checked in checks)

    async def _watch(self, node: FleetNode, index: int) -> None:
        await self._clock.sleep(min(self._schedule.interval_s, FIRST_WAVE_S * index))
        while True:
            try:
                await self._check_in_turn(node)
            except Exception as fault:  # noqa: BLE001 - in one task group: what is wrong with one ends all others' watches
                self._say_fault(node, fault)
            wake, pause_s = self._wake[node.node_id], self._pause_s(node.node_id)
            if pause_s is None:
                await wake.wait()
                wake.clear()
            else:
                await sleep_or_wake(self._clock, pause_s * random.uniform(0.95, 1.05), wake)  # noqa: S311 - spreads

    def _say_fault(self, node: FleetNode, fault: Exception) -> None:
        log.error("fleet.unexpected", node=node.node_id, exc_info=fault)
        now, pause_s = self._clock.now(), self._pause_s(node.node_id) or 0.0
        error = f"check of {node.label}: {type(fault).__name__}: {str(fault)[:MAX_FAULT]}"
        self._emit(ServiceCrashed(at=now, service="fleet", error=error, retry_in_s=round(pause_s, 1)))
        self._emit(ServiceStarted(at=now, service="fleet"))  # the other nodes are watched on

    async def _check_in_turn(self, node: FleetNode) -> NodeChecked:
        async with self._slot():
            return await self.check(node)

    @asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        await self._slots.acquire()
        # The loop's own timer: this is about the machine's time, not about the engine's.
        timer = asyncio.get_running_loop().call_later(PATIENCE_S, self._slots.release)
        try:
            yield
        finally:
            if not timer.cancelled() and timer.when() > asyncio.get_running_loop().time():
                timer.cancel()
                self._slots.release()

    async def check(self, node: FleetNode, *, with_host: bool = False) -> NodeChecked:
        """One health check: log in, ask for the GPUs, now and then for the rest; the verdict is an event and returned.

        ``with_host`` asks for the rest in any case.
        """
        memory = self.book[node.node_id]
        finding = await self._ask(node.target, memory)
        if self.book.get(node.node_id) is not memory:
            return self._verdict(node, memory, finding)  # the node left or moved while it was being asked
        self.book.learn_outcome(node.node_id, finding.error, finding.latency_ms)
        is_due = with_host or self._is_host_due(memory)
        if finding.gpus is not None:
            is_due = self.book.learn_gpus(node.node_id, finding.gpus) or is_due
        health = after_check(
            memory.health, ok=finding.error is None, host_key_changed=isinstance(finding.error, SshHostKeyChanged)
        )
        old, memory.health = memory.health, health
        checked = self._verdict(node, memory, finding)
        self._emit(checked)
        if health.state != old.state:
            reason = checked.message or "check passed"
            self._emit(
                NodeStateChanged(at=checked.at, node_id=node.node_id, old=old.state, new=health.state, reason=reason)
            )
        if is_due and finding.error is None:
            await self._inspect(node)
        return checked

    async def _ask(self, target: NodeTarget, memory: NodeMemory) -> _Finding:
        finding = _Finding()
        started = self._clock.monotonic()
        limit_s = LOGIN_GUARD_S
        try:
            # The pool bounds each step of a login; waiting for one's turn there is no failure of the node.
            async with asyncio.timeout(limit_s):
                finding.connection = await self._pool.connect(target)
            started, limit_s = self._clock.monotonic(), self._timeout_s
            async with asyncio.timeout(limit_s):
                finding.gpus, memory.query = await probe_gpu_table(
                    self._pool, target, query=memory.query, timeout_s=self._timeout_s
                )
        except BasilicaError as failure:
            finding.error = failure
        except TimeoutError:
            finding.error = SshTimeout(f"no answer within {limit_s:g} s", hint="check load and network of the node")
        except Exception as fault:  # an answer that nobody foresaw is a finding about this node
            log.error("fleet.unexpected", node=target.node_id, exc_info=fault)
            finding.error = ProbeFailed(
                f"the answer could not be judged: {type(fault).__name__}: {str(fault)[:MAX_FAULT]}",
                hint="see what nvidia-smi prints on the node; if that is in order, report it with the engine's log",
                reason="unexpected",
            )
        finding.latency_ms = round((self._clock.monotonic() - started) * 1000, 1)
        return finding

    async def _inspect(self, node: FleetNode) -> None:
        host, trouble = None, ""
        try:
            async with asyncio.timeout(HOST_TIMEOUT_S + 5):
                host = await probe_host(self._pool, node.target, timeout_s=HOST_TIMEOUT_S)
        except SshFailure as failure:
            trouble = failure.message
        except TimeoutError:
            trouble = f"no answer within {HOST_TIMEOUT_S + 5:g} s"
        if self.book.get(node.node_id) is not None:
            self.book.learn_host(node.node_id, host, trouble)

    def _is_host_due(self, memory: NodeMemory) -> bool:
        asked_at = memory.host_asked_at
        since_s = None if asked_at is None else self._clock.monotonic() - asked_at
        return self._schedule.is_host_due(memory.checks_since_host, since_s)

    def _pause_s(self, node_id: str) -> float | None:
        memory = self.book.get(node_id)
        return self._schedule.pause_s(0 if memory is None else memory.health.failures_in_row)

    def _verdict(self, node: FleetNode, memory: NodeMemory, finding: _Finding) -> NodeChecked:
        now, error, facts, connection = self._clock.now(), finding.error, finding.gpus, finding.connection
        pause_s = self._schedule.pause_s(memory.health.failures_in_row)
        hint = "" if error is None else error.hint
        if pause_s is None:
            hint = "automatic recovery is off: ask for a check when the node is repaired"
        host = memory.host
        return NodeChecked(
            at=now,
            node_id=node.node_id,
            ok=error is None,
            latency_ms=finding.latency_ms,
            error_code="" if error is None else error.code,
            message="" if error is None else error.message,
            hint=hint,
            gpu_model="" if facts is None else facts.model,
            gpu_count=None if facts is None else facts.count,
            gpu_memory_mib=None if facts is None else facts.memory_mib,
            gpu_uuids=() if facts is None else facts.uuids,
            driver="" if facts is None else facts.driver,
            cuda="" if facts is None else memory.good.cuda,
            utilisation_percent=None if facts is None else facts.utilisation_percent,
            temperature_c=None if facts is None else facts.temperature_c,
            sshd_version="" if connection is None else connection.server_version,
            host_key_fingerprint="" if connection is None else connection.host_key_fingerprint,
            clock_skew_s=None if error is not None or host is None else host.clock_skew_s,
            disk_free_bytes=None if error is not None or host is None else host.disk_free_bytes,
            compute_capability="" if facts is None else facts.compute_capability,
            ecc_errors=None if facts is None else facts.ecc_errors,
            ssh_success_percent=memory.window.percent(now),
            latency_mean_ms=memory.latency.mean_ms,
            latency_p95_ms=memory.latency.p95_ms,
            next_check_at=None if pause_s is None else now + pause_s,
        )
