"""Which nodes are served, remembered over restarts: those that come, move to another address, and leave."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace

from engine.clock import Clock
from engine.events import EventSink, NodeAdded, NodeRemoved, NodeStateChanged
from engine.identity.node_ids import node_id_from_text
from engine.miner.fleet import FleetNode
from engine.miner.reconciler import Reconciler
from engine.ssh.target import NodeTarget
from engine.store import Store
from engine.store.records import Grant, KnownNode

LEAVING = "no longer configured; its keys are being removed"


class Membership:
    """The configured nodes, and what the store knows of former ones until their keys are gone."""

    def __init__(
        self, nodes: Sequence[FleetNode], store: Store, reconciler: Reconciler, *, clock: Clock, emit: EventSink
    ) -> None:
        self.nodes: Mapping[str, FleetNode] = {n.node_id: n for n in nodes}
        self.lock = asyncio.Lock()
        self._store = store
        self._reconciler = reconciler
        self._clock = clock
        self._emit = emit

    def take(self, nodes: Sequence[FleetNode]) -> None:
        """The configuration names these from now on; ``register`` makes the rest follow."""
        self.nodes = {n.node_id: n for n in nodes}

    async def forget_clean(self) -> list[NodeTarget]:
        """Let go of nodes that left the configuration and hold no key of ours any more; returns those."""
        async with self.lock:
            gone = [n for n in await self._store.nodes.all() if n.node_id not in self.nodes]
            if not gone:
                return []
            with_keys = self._with_keys(await self._store.grants.open())
            clean = [n for n in gone if n.node_id not in with_keys]
            await self._store.nodes.forget([n.node_id for n in clean])
            for node in clean:
                self._reconciler.forget(node.node_id)
                self._emit(NodeRemoved(at=self._clock.now(), node_id=node.node_id))
            return [_target(n) for n in clean]

    async def register(self, now: float) -> None:
        """Make store and reconciler know these nodes and those that left; the caller holds ``lock``."""
        known = {n.node_id: n for n in await self._store.nodes.all()}
        for node in self.nodes.values():
            before = known.get(node.node_id)
            if before is not None and _target(before) != node.target:
                known |= await self._leave_address(before, node.target, now)
        await self._store.nodes.put_many([_known_node(n, known.get(n.node_id), now) for n in self.nodes.values()])
        gone = [n for n in known.values() if n.node_id not in self.nodes]
        await self._store.nodes.mark_removed([n.node_id for n in gone if n.removed_at is None], now)
        self._reconciler.manage(n.target for n in self.nodes.values())
        self._reconciler.manage(_target(n) for n in gone)
        self._say_leaving(gone, await self._store.grants.open(), now)

    async def _leave_address(self, node: KnownNode, new: NodeTarget, now: float) -> dict[str, KnownNode]:
        """An id moved to another host: what is open at the former one goes on under an id of its own, and ends."""
        former = former_address(node, now)
        async with self._reconciler.hold_file(node.node_id):
            rows = [g.id for g in await self._store.grants.open_for_node(node.node_id)]
            rows += self._store.grants.damaged_on.get(node.node_id, ())
            if rows:
                await self._store.nodes.put_many([former])
                await self._store.grants.move(rows, former.node_id)
            self._reconciler.manage([new])
        self._emit(NodeRemoved(at=now, node_id=node.node_id))
        self._say_added(node.node_id, self.nodes[node.node_id].label, new, now)
        return {former.node_id: former} if rows else {}

    def _say_leaving(self, gone: Sequence[KnownNode], open_grants: Sequence[Grant], now: float) -> None:
        with_keys = self._with_keys(open_grants)
        for node in gone:
            if node.node_id in with_keys:
                self._say_added(node.node_id, node.label, _target(node), now)
                self._emit(NodeStateChanged(at=now, node_id=node.node_id, old="unknown", new="unknown", reason=LEAVING))

    def _with_keys(self, open_grants: Sequence[Grant]) -> set[str]:
        return {*(g.node_id for g in open_grants), *self._store.grants.damaged_on}

    def _say_added(self, node_id: str, label: str, target: NodeTarget, now: float) -> None:
        self._emit(
            NodeAdded(
                at=now, node_id=node_id, label=label, host=target.host, port=target.port, username=target.username
            )
        )


def _known_node(node: FleetNode, before: KnownNode | None, now: float) -> KnownNode:
    target = node.target
    return KnownNode(
        node_id=node.node_id,
        host=target.host,
        port=target.port,
        username=target.username,
        label=node.label,
        added_at=now if before is None else before.added_at,
        removed_at=None,
    )


def former_address(node: KnownNode, now: float) -> KnownNode:
    """The place that an id has left, as a node of its own: known until the keys there are gone."""
    address = f"{node.username}@{node.host}:{node.port}"
    label = f"{node.label} (was {address})"
    # The derived id of the address may be the very id that moved on, so this one comes from another text.
    return replace(node, node_id=node_id_from_text(f"former {address}"), label=label, removed_at=now)


def _target(node: KnownNode) -> NodeTarget:
    return NodeTarget(node_id=node.node_id, host=node.host, port=node.port, username=node.username)
