"""Looking at all nodes at the same time, then from node to node, and from a node back at this host."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from engine.clock import Clock
from engine.config import MinerConfig
from engine.diagnostics.access_checks import AccessFacts
from engine.diagnostics.host_facts import AxonView
from engine.diagnostics.look_node import Visit, call_from, look_at_node
from engine.diagnostics.look_records import Records
from engine.diagnostics.node_facts import NodeFacts
from engine.diagnostics.patient import NodePatient
from engine.errors import ClientKeyUnusable, SshFailure
from engine.probes.way import WayFacts
from engine.ssh import sessions
from engine.ssh.admin import AdminLogin
from engine.ssh.host_keys import HostKeys
from engine.ssh.keys import ClientKey
from engine.ssh.pool import NodePool
from engine.ssh.target import NodeTarget

NODES_AT_ONCE = 64
_WITNESSES = 3


@dataclass(frozen=True)
class Nodes:
    """What was seen of the fleet."""

    facts: Mapping[str, NodeFacts] = field(default_factory=dict)
    sessions: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """By node id: processes by the grant that they carry."""
    axon: AxonView = field(default_factory=AxonView)
    key_trouble: str = ""
    """Why no node could be looked at."""

    @property
    def skews(self) -> tuple[float, ...]:
        """Clocks of the nodes minus ours."""
        hosts = (one.host for one in self.facts.values())
        return tuple(host.clock_skew_s for host in hosts if host is not None and host.clock_skew_s is not None)


@dataclass
class FleetLook:
    """One look at a fleet, over the engine's pool or one of its own that only reads the pinned keys."""

    clock: Clock
    pool: NodePool | None = None
    admin: AdminLogin | None = None
    with_container: bool = True

    async def look(
        self,
        nodes: Sequence[NodePatient],
        miner: MinerConfig | None,
        *,
        advertised: tuple[str, int] | None,
        bound: tuple[str, int] | None,
        on_seen: Callable[[NodePatient, NodeFacts], object],
        witnesses: Sequence[NodeTarget] = (),
    ) -> Nodes:
        """All nodes; never raises for what one of them does.

        ``witnesses`` are other nodes: one of them is asked to call a node that none of ``nodes`` can call.
        """
        try:
            pool, is_ours = self._open(miner)
        except ClientKeyUnusable as error:
            return Nodes(
                {node.target.node_id: NodeFacts(node.target, WayFacts("key")) for node in nodes},
                key_trouble=error.message,
            )
        try:
            facts = await self._visit_all(pool, nodes, on_seen)
            inside = [one.target for one in facts if one.account is not None and one.account.uid is not None]
            facts, axon, people = await asyncio.gather(
                _call_each_other(pool, facts, inside, witnesses[:_WITNESSES]),
                _call_home(pool, inside, advertised, bound),
                _who_is_inside(pool, inside),
            )
        finally:
            if is_ours:
                await pool.close()
        return Nodes({one.target.node_id: one for one in facts}, people, axon)

    async def _visit_all(
        self, pool: NodePool, nodes: Sequence[NodePatient], on_seen: Callable[[NodePatient, NodeFacts], object]
    ) -> list[NodeFacts]:
        gate = asyncio.Semaphore(NODES_AT_ONCE)
        visit = Visit(self.admin, self.with_container)

        async def look(node: NodePatient) -> NodeFacts:
            async with gate:
                facts = await look_at_node(pool, node.target, node.limits, visit)
            on_seen(node, facts)
            return facts

        return list(await asyncio.gather(*map(look, nodes)))

    def _open(self, miner: MinerConfig | None) -> tuple[NodePool, bool]:
        if self.pool is not None:
            return self.pool, False
        assert miner is not None
        key = ClientKey.from_file(miner.ssh_session.miner_node_key_path)
        pins = HostKeys(miner.data_dir / "known_hosts", is_looker=True)
        return NodePool(key, pins, clock=self.clock, emit=lambda _: None), True


def look_at_access(facts: NodeFacts, records: Records, seen: Nodes, now: float) -> AccessFacts:
    """What the records and the node's file say, side by side; nothing is asked any more."""
    account, target = facts.account, facts.target
    is_known = account is not None and account.uid is not None
    first = "host.ssh_key" if facts.way.stop == "key" else f"node.{facts.way.stop}"  # the check that says it
    trouble = facts.trouble or (f"{first} failed first" if facts.way.stop else "")
    return AccessFacts(
        now=now,
        key_bytes=account.key_bytes if is_known and account is not None else None,
        server_version=facts.way.server_version,
        own_blobs=facts.own_keys,
        grants=None if records.grants is None else records.grants.get(target.node_id, ()),
        no_records=records.trouble,
        baseline=records.baseline(target.node_id, target.label),
        root_paths=account.root_paths if account is not None else (),
        root_key_bytes=account.root_key_bytes if account is not None else b"",
        groups=account.groups if account is not None else (),
        placement=records.placements.get(target.label, ""),
        canary=records.canaries.get(target.node_id, ""),
        sessions=seen.sessions.get(target.node_id),
        node_trouble=trouble,
    )


async def _call_each_other(
    pool: NodePool, facts: list[NodeFacts], inside: list[NodeTarget], witnesses: Sequence[NodeTarget]
) -> list[NodeFacts]:
    """Each node that has a port is called from the next one that we are logged in to, else from a witness."""

    async def view(one: NodeFacts) -> NodeFacts:
        peers = [peer for peer in inside if peer.node_id > one.target.node_id] or inside
        others = [peer for peer in peers if (peer.host, peer.port) != (one.target.host, one.target.port)]
        if not one.way.addresses or one.way.stop in ("resolve", "route", "tcp"):
            return one
        seen = one.peer
        for peer in others[:1] or witnesses:
            seen = await call_from(pool, peer, one.way.addresses[0], one.target.port)
            if seen.outcome in ("open", "refused", "timeout"):
                break
        return replace(one, peer=seen)

    return list(await asyncio.gather(*map(view, facts)))


async def _call_home(
    pool: NodePool, inside: list[NodeTarget], advertised: tuple[str, int] | None, bound: tuple[str, int] | None
) -> AxonView:
    """Let one node call the advertised address. Where no engine listens, the port is opened for the moment."""
    if advertised is None or bound is None:
        return AxonView()
    address = f"[{advertised[0]}]:{advertised[1]}" if ":" in advertised[0] else f"{advertised[0]}:{advertised[1]}"
    if not inside:
        return AxonView(address, bound_host=bound[0])
    async with _listening(*bound):
        view = await call_from(pool, inside[0], *advertised)
    return AxonView(address, view.peer, view.outcome, bound[0])


@contextlib.asynccontextmanager
async def _listening(host: str, port: int) -> AsyncIterator[None]:
    try:
        server = await asyncio.start_server(lambda _, writer: writer.close(), host, port, backlog=4)
    except OSError:  # the engine listens there, or nobody may
        yield
        return
    async with server:
        yield


async def _who_is_inside(pool: NodePool, inside: list[NodeTarget]) -> dict[str, Mapping[str, int]]:
    async def look(target: NodeTarget) -> tuple[str, Mapping[str, int] | None]:
        try:
            visitors = await sessions.look(pool, target)
        except SshFailure:
            return target.node_id, None
        if visitors is None:
            return target.node_id, None
        return target.node_id, Counter(one.grant_id for one in visitors.processes.values() if one.grant_id)

    found = await asyncio.gather(*map(look, inside))
    return {node_id: counts for node_id, counts in found if counts is not None}
