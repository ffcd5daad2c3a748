"""The miner role, assembled: its parts, its services, and what the console may ask of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from engine.chain import Chain
from engine.chain.cached import MetagraphCache
from engine.clock import Clock
from engine.config.miner import MinerConfig
from engine.control.actions import ActionTable
from engine.errors import ChainUnavailable, ControlRefused
from engine.events import Event, EventBus, KeyFailed, KeyRemoved, NodeStateChanged
from engine.identity import Signer
from engine.miner.assignment import Policy
from engine.miner.axon import AxonPublisher, Endpoint, outgoing_address
from engine.miner.core import MinerCore
from engine.miner.door import Door
from engine.miner.fleet import Fleet, fleet_from_config
from engine.miner.grants import END_OPERATOR, END_SHUTDOWN
from engine.miner.reconciler import Reconciler
from engine.ssh.host_keys import HostKeys
from engine.ssh.keys import ClientKey
from engine.ssh.pool import NodePool
from engine.store import Store
from engine.supervisor import Supervisor

NONCE_PRUNE_INTERVAL_S = 300.0
NONCE_LIFETIME_S = 600.0
"""Twice the accepted clock difference: an older request is refused for its timestamp."""
DRAIN_S = 10.0


@dataclass(frozen=True, slots=True)
class MinerParts:
    """What the composition root gives to the role."""

    config: MinerConfig
    store: Store
    chain: Chain
    signer: Signer
    metagraph: MetagraphCache
    clock: Clock
    bus: EventBus
    host_keys: HostKeys


class MinerRole:
    """Everything that a miner does, as services of one supervisor."""

    def __init__(self, parts: MinerParts) -> None:
        config, clock, emit = parts.config, parts.clock, parts.bus.emit
        key = ClientKey.from_file(config.ssh_session.miner_node_key_path)
        nodes = fleet_from_config(config.node_management.nodes)
        self._parts = parts
        self._clock = clock
        self.pool = NodePool(key, parts.host_keys, clock=clock, emit=emit)
        self.fleet = Fleet(
            nodes,
            self.pool,
            clock=clock,
            emit=emit,
            interval_s=config.node_management.health_check_interval,
            timeout_s=config.node_management.health_check_timeout,
        )
        self.reconciler = Reconciler(
            self.pool,
            parts.store.grants,
            self.fleet,
            frozenset({key.blob_base64}),
            clock=clock,
            emit=emit,
            node_deadline_s=config.access.node_deadline,
            interval_s=config.access.reconcile_interval,
            audit_interval_s=config.access.reconcile_interval * 10,
            adopt_leftovers=config.ssh_session.adopt_leftovers,
        )
        self.core = MinerCore(
            nodes,
            parts.store,
            parts.metagraph,
            self.reconciler,
            key.blob_base64,
            policy=_policy(config),
            clock=clock,
            emit=emit,
            session_lifetime_s=config.access.session_lifetime,
        )
        self.door = Door(
            config.validator_comms.host,
            config.validator_comms.port,
            parts.signer,
            self.core,
            sessions=parts.store.sessions,
            nonces=parts.store.nonces,
            clock=clock,
            emit=emit,
            verify_signatures=config.security.verify_signatures,
        )
        bound = f"{config.validator_comms.host}:{config.validator_comms.port}"
        self._axon = AxonPublisher(
            parts.chain, parts.signer.hotkey, advertised_endpoint(config), bound, clock=clock, emit=emit
        )
        self._session_check = asyncio.Event()
        parts.bus.subscribe(self._listen)

    async def start(self) -> None:
        """Restore what was known, announce the fleet, open the door. Raises BasilicaError."""
        self.fleet.announce()
        await self.core.restore()
        await self.door.start()

    def add_services(self, supervisor: Supervisor) -> None:
        """Register the role's services."""
        supervisor.add("fleet", self.fleet.run)
        supervisor.add("reconciler", self.reconciler.run)
        supervisor.add("assignment", self._keep_assigning)
        supervisor.add("sessions", self._keep_closing_sessions)
        supervisor.add("nonces", self._keep_pruning)

    def add_actions(self, actions: ActionTable) -> None:
        """Register what an operator may do."""
        actions.register("session.end", self._act_end_session, help="end a validator's access now", danger=True)
        actions.register("node.check", self._act_check, help="check a node now", danger=False)
        actions.register(
            "node.accept_host_key", self._act_accept_host_key, help="trust a node's new host key", danger=True
        )
        actions.register("node.reconcile", self._act_reconcile, help="make a node's keys match now", danger=False)
        actions.register("assignment.refresh", self._act_reassign, help="read the chain and assign now", danger=False)

    async def stop(self) -> None:
        """Close the door, finish what is under way, and revoke all access if the configuration says so."""
        await self.door.stop(2.0)
        if self._parts.config.access.revoke_on_exit:
            await self.core.end_access(END_SHUTDOWN)
            try:
                async with asyncio.timeout(DRAIN_S):
                    await self.reconciler.sweep()
            except TimeoutError:
                pass  # rows stay; the nodes close by themselves at the expiry, and the next start removes the lines
            await self.core.close_finished_sessions()
        await self.pool.close()

    # --- services ---------------------------------------------------------------------------------------------

    async def _keep_assigning(self) -> None:
        interval_s = self._parts.config.validator_assignment.interval
        while True:
            pause_s = interval_s
            try:
                await self.core.reassign()
                metagraph, _ = self._parts.metagraph.current()
                await self._axon.check(metagraph)
            except ChainUnavailable:
                pause_s = min(interval_s, 15.0)
            await self._clock.sleep(pause_s)

    async def _keep_closing_sessions(self) -> None:
        while True:
            await self._session_check.wait()
            self._session_check.clear()
            await self.core.close_finished_sessions()

    async def _keep_pruning(self) -> None:
        while True:
            await self._parts.store.nonces.prune(self._clock.now() - NONCE_LIFETIME_S)
            await self._clock.sleep(NONCE_PRUNE_INTERVAL_S)

    def _listen(self, event: Event) -> None:
        if isinstance(event, KeyRemoved | KeyFailed):
            self._session_check.set()
        elif isinstance(event, NodeStateChanged) and event.new == "healthy":
            self.reconciler.retry_now(event.node_id)

    # --- actions ----------------------------------------------------------------------------------------------

    async def _act_end_session(self, args: Mapping[str, object], report: Callable[[str], None]) -> Mapping[str, object]:
        hotkey = _text(args, "hotkey")
        ended = await self.core.end_access(END_OPERATOR, only=lambda g: g.hotkey == hotkey)
        report(f"{ended} grants ended, removing keys")
        await self.reconciler.sweep()
        await self.core.close_finished_sessions()
        left = [g for g in await self._parts.store.grants.open() if g.hotkey == hotkey]
        return {"ended": ended, "keys_left": len(left)}

    async def _act_check(self, args: Mapping[str, object], report: Callable[[str], None]) -> Mapping[str, object]:
        node = self.fleet.nodes.get(_text(args, "node_id"))
        if node is None:
            raise ControlRefused("no such node", reason="unknown_node")
        report(f"checking {node.label}")
        checked = await self.fleet.check(node)
        return {"ok": checked.ok, "latency_ms": checked.latency_ms, "message": checked.message, "hint": checked.hint}

    async def _act_accept_host_key(
        self, args: Mapping[str, object], report: Callable[[str], None]
    ) -> Mapping[str, object]:
        node = self.fleet.nodes.get(_text(args, "node_id"))
        if node is None:
            raise ControlRefused("no such node", reason="unknown_node")
        fingerprint = _text(args, "fingerprint")
        await self.pool.accept_host_key(node.target, "operator", fingerprint)
        report(f"{node.label}: {fingerprint} accepted")
        self.fleet.check_soon(node.node_id)
        self.reconciler.retry_now(node.node_id)
        return {"fingerprint": fingerprint}

    async def _act_reconcile(self, args: Mapping[str, object], report: Callable[[str], None]) -> Mapping[str, object]:
        node_id = _text(args, "node_id")
        if node_id not in self.fleet.nodes:
            raise ControlRefused("no such node", reason="unknown_node")
        report("reading and comparing authorized_keys")
        outcome = await self.reconciler.reconcile(node_id)
        if outcome.error is not None:
            raise ControlRefused(outcome.error.message, hint=outcome.error.hint, reason=outcome.error.code)
        return {"in_place": len(outcome.in_place)}

    async def _act_reassign(self, args: Mapping[str, object], report: Callable[[str], None]) -> Mapping[str, object]:
        report("reading the metagraph")
        await self.core.reassign()
        return self.core.assignment.to_json()


def advertised_endpoint(config: MinerConfig) -> Endpoint | None:
    """What the chain should say: the configured external IP, loopback on a local chain, else this host's own."""
    ip = config.bittensor.external_ip
    if ip is None:
        ip = "127.0.0.1" if config.bittensor.network == "local" else outgoing_address()
    return None if ip is None else Endpoint(ip, config.bittensor.axon_port)


def _policy(config: MinerConfig) -> Policy:
    section = config.validator_assignment
    return Policy(section.enabled, section.strategy, section.validator_hotkey, section.min_stake_threshold)


def _text(args: Mapping[str, object], name: str) -> str:
    value = args.get(name)
    if not isinstance(value, str) or not value:
        raise ControlRefused(f"'{name}' is missing", hint=f"give {name}=…", reason="bad_argument")
    return value
