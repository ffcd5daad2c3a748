"""The miner's nodes: who they are, and a health check of each at its interval over the persistent connection."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from engine.clock import Clock, sleep_or_wake
from engine.config.miner import NodeConfig
from engine.errors import BasilicaError, SshHostKeyChanged
from engine.events import EventSink, NodeAdded, NodeChecked, NodeStateChanged
from engine.miner.node_state import Health, after_check
from engine.probes.gpu import GpuFacts, probe_gpus
from engine.ssh.capability import NodeCapability, probe_capability
from engine.ssh.pool import NodePool
from engine.ssh.target import NodeTarget

CONCURRENT_CHECKS = 64


@dataclass(frozen=True, slots=True)
class FleetNode:
    """One configured node."""

    target: NodeTarget
    label: str
    additional_opts: str = ""
    hourly_rate_cents: int | None = None

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
            )
        )
    return tuple(nodes)


class Fleet:
    """Checks every node and says what it found; remembers each node's health and capability."""

    def __init__(
        self,
        nodes: Iterable[FleetNode],
        pool: NodePool,
        *,
        clock: Clock,
        emit: EventSink,
        interval_s: float,
        timeout_s: float,
    ) -> None:
        self.nodes: Mapping[str, FleetNode] = {n.node_id: n for n in nodes}
        self._pool = pool
        self._clock = clock
        self._emit = emit
        self._interval_s = interval_s
        self._timeout_s = timeout_s
        self._health = dict.fromkeys(self.nodes, Health())
        self._capability: dict[str, NodeCapability] = {}
        self._slots = asyncio.Semaphore(CONCURRENT_CHECKS)
        self._wake = {node_id: asyncio.Event() for node_id in self.nodes}

    def announce(self) -> None:
        """Emit NodeAdded for each configured node."""
        for node in self.nodes.values():
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
        """What is known of one node."""
        return self._health[node_id]

    async def capability(self, target: NodeTarget) -> NodeCapability:
        """What the node's sshd and tools can do; asked again when its banner changes. Raises SshFailure."""
        server = (await self._pool.connect(target)).server_version
        known = self._capability.get(target.node_id)
        if known is None or known.server_version != server:
            known = await probe_capability(self._pool, target)
            self._capability[target.node_id] = known
        return known

    def check_soon(self, node_id: str) -> None:
        """Let the node's next check run now."""
        self._wake[node_id].set()

    async def run(self) -> None:
        """Check every node at the interval, spread over it, for ever."""
        async with asyncio.TaskGroup() as group:
            for index, node in enumerate(self.nodes.values()):
                group.create_task(self._watch(node, index))

    async def _watch(self, node: FleetNode, index: int) -> None:
        first_wave_s = min(self._interval_s, 0.02 * index)
        await self._clock.sleep(first_wave_s)
        while True:
            async with self._slots:
                await self.check(node)
            wait_s = self._interval_s * random.uniform(0.95, 1.05)  # noqa: S311 - spreads checks
            await sleep_or_wake(self._clock, wait_s, self._wake[node.node_id])

    async def check(self, node: FleetNode) -> NodeChecked:
        """One health check: log in, ask for the GPUs; the verdict is an event and the return value."""
        started = self._clock.monotonic()
        error: BasilicaError | None = None
        facts: GpuFacts | None = None
        capability: NodeCapability | None = None
        host_key = ""
        try:
            async with asyncio.timeout(self._timeout_s):
                host_key = (await self._pool.connect(node.target)).host_key_fingerprint
                capability = await self.capability(node.target)
                facts = await probe_gpus(self._pool, node.target)
        except BasilicaError as failure:
            error = failure
        except TimeoutError:
            error = BasilicaError(f"no answer within {self._timeout_s:g} s", hint="check load and network of the node")
        checked = self._verdict(node, (self._clock.monotonic() - started) * 1000, error, facts, capability, host_key)
        self._emit(checked)
        self._judge(node.node_id, checked, isinstance(error, SshHostKeyChanged))
        return checked

    def _verdict(
        self,
        node: FleetNode,
        latency_ms: float,
        error: BasilicaError | None,
        facts: GpuFacts | None,
        capability: NodeCapability | None,
        host_key: str,
    ) -> NodeChecked:
        return NodeChecked(
            at=self._clock.now(),
            node_id=node.node_id,
            ok=error is None,
            latency_ms=round(latency_ms, 1),
            error_code="" if error is None else error.code,
            message="" if error is None else error.message,
            hint="" if error is None else error.hint,
            gpu_model="" if facts is None else facts.model,
            gpu_count=None if facts is None else facts.count,
            gpu_memory_mib=None if facts is None else facts.memory_mib,
            gpu_uuids=() if facts is None else facts.uuids,
            driver="" if facts is None else facts.driver,
            cuda="" if facts is None else facts.cuda,
            utilisation_percent=None if facts is None else facts.utilisation_percent,
            temperature_c=None if facts is None else facts.temperature_c,
            sshd_version="" if capability is None else capability.server_version,
            host_key_fingerprint=host_key,
            clock_skew_s=None if capability is None else capability.clock_skew_s,
        )

    def _judge(self, node_id: str, checked: NodeChecked, host_key_changed: bool) -> None:
        old = self._health[node_id]
        new = after_check(old, ok=checked.ok, host_key_changed=host_key_changed)
        self._health[node_id] = new
        if new.state != old.state:
            reason = checked.message or "check passed"
            self._emit(NodeStateChanged(at=checked.at, node_id=node_id, old=old.state, new=new.state, reason=reason))
