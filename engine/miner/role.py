"""The miner role, assembled: its parts, its services, and what the console may ask of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial

import structlog

from engine.chain import Chain
from engine.chain.cached import MetagraphCache
from engine.clock import Clock, sleep_or_wake
from engine.config.miner import MinerConfig
from engine.control.actions import ActionTable
from engine.errors import ChainUnavailable, ControlRefused
from engine.events import Event, EventBus, KeyFailed, KeyRemoved, NodeStateChanged
from engine.identity import Signer
from engine.lifecycle.plan import Area
from engine.miner.access import NodeAccess
from engine.miner.assignment import Policy
from engine.miner.axon import AxonPublisher, Endpoint, advertised_endpoint
from engine.miner.core import MinerCore
from engine.miner.door import Door
from engine.miner.door_front import Health
from engine.miner.door_quota import HOUR_S, SessionLimits
from engine.miner.door_tls import tls_files
from engine.miner.drain import DrainBook
from engine.miner.fleet import fleet_from_config
from engine.miner.fleet_watch import FleetWatch
from engine.miner.grants import END_OPERATOR, END_SHUTDOWN
from engine.miner.operator_access import OperatorAccess
from engine.miner.own_address import address_seen_by
from engine.miner.own_weights import OwnWeights
from engine.ssh.host_keys import HostKeys
from engine.ssh.keys import ClientKey
from engine.ssh.pool import NodePool
from engine.store import Store
from engine.supervisor import Supervisor, every_step, whenever_woken

log = structlog.get_logger()

PRUNE_INTERVAL_S = 300.0
HISTORY_S = 90 * 86400.0
"""Closed grants and ended sessions are kept this long."""
NONCE_LIFETIME_S = 660.0
"""Twice the accepted clock difference and a minute: an older request is refused for its timestamp."""
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
    health: Health
    """The health document, for the gRPC port."""


class MinerRole:
    """Everything that a miner does, as services of one supervisor."""

    def __init__(self, parts: MinerParts) -> None:
        config, clock, emit = parts.config, parts.clock, parts.bus.emit
        key = ClientKey.from_file(config.ssh_session.miner_node_key_path)
        nodes = fleet_from_config(config.node_management.nodes)
        self._parts = parts
        self._config = config
        self._clock = clock
        self.pool = NodePool(key, parts.host_keys, clock=clock, emit=emit)
        self.watch = FleetWatch(
            config, nodes, self.pool, parts.store.node_health, signer=parts.signer, clock=clock, bus=parts.bus
        )
        self.fleet = self.watch.fleet
        self.access = NodeAccess(config, parts.signer.hotkey, self.pool, parts.store, clock=clock, emit=emit)
        self.reconciler = self.access.reconciler
        self.drained = DrainBook(parts.store.keyvalue, clock=clock, emit=emit)
        self.core = MinerCore(
            nodes,
            parts.store,
            parts.metagraph,
            self.reconciler,
            lambda: self.pool.own_blobs,
            self.access.certifying,
            self.drained.is_out,
            wrapping=config.access.session_wrapper,
            policy=_policy(config),
            clock=clock,
            emit=emit,
            session_lifetime_s=config.access.session_lifetime,
        )
        self._operator = OperatorAccess(self.core, parts.store, self.reconciler, self.drained, clock=clock, emit=emit)
        self.door = Door(
            config.validator_comms.host,
            config.validator_comms.port,
            parts.signer,
            self.core,
            store=parts.store,
            clock=clock,
            emit=emit,
            session_limits=SessionLimits(config.access.max_sessions_per_validator, config.access.new_sessions_per_hour),
            verify_signatures=config.security.verify_signatures,
            answer_within_s=config.access.discovery_deadline,
            tls=tls_files(config.validator_comms),
            health_on_port=parts.health if config.health.on_grpc_port else None,
        )
        bound = f"{config.validator_comms.host}:{config.validator_comms.port}"
        self._axon = AxonPublisher(
            parts.chain,
            parts.signer.hotkey,
            advertised_endpoint(config),
            bound,
            clock=clock,
            emit=emit,
            find=self._address_seen_by_nodes,
        )
        self._own_weights = OwnWeights(parts.chain, parts.signer.hotkey, clock=clock, emit=emit)
        self._session_check = asyncio.Event()
        self._assign_soon = asyncio.Event()
        parts.bus.subscribe(self._listen)

    async def start(self) -> None:
        """Restore what was known, announce the fleet, open the door. Raises BasilicaError."""
        self.fleet.announce()
        if self.fleet.nodes:
            log.info(f"Successfully registered {len(self.fleet.nodes)} nodes")
        else:
            log.warning("No nodes registered - miner will not be able to serve validators")
        await self.access.restore()
        await self.watch.restore()
        await self.core.restore()
        await self.drained.restore(self.fleet.nodes)
        self._session_check.set()
        await self.door.start()

    def add_services(self, supervisor: Supervisor) -> None:
        """Register the role's services."""
        self.watch.add_services(supervisor)
        self.access.add_services(supervisor)
        supervisor.add("assignment", self._keep_assigning)
        supervisor.add("sessions", self._keep_closing_sessions)
        supervisor.add("housekeeping", self._keep_pruning)

    def add_actions(self, actions: ActionTable) -> None:
        """Register what an operator may do."""
        actions.register("session.end", self._act_end_session, help="end a validator's access now", danger=True)
        self.watch.add_actions(actions)
        self.access.add_actions(actions)
        self._operator.register(actions)
        actions.register(
            "node.accept_host_key", self._act_accept_host_key, help="trust a node's new host key", danger=True
        )
        actions.register("node.reconcile", self._act_reconcile, help="make a node's keys match now", danger=False)
        actions.register(
            "axon.publish", self._act_publish, help="publish the axon where the chain differs", danger=True
        )
        actions.register(
            "chain.weights", self._act_weights, help="read what each validator's weights give this miner", danger=False
        )
        actions.register("assignment.refresh", self._act_reassign, help="read the chain and assign now", danger=False)

    async def stop(self, supervisor: Supervisor) -> None:
        """Close the door, let key changes under way finish, revoke all access if the configuration says so.

        Whatever fails, the rest is done; what failed is raised after that.
        """
        await every_step(
            partial(self.door.stop, 2.0),
            partial(supervisor.end, "fleet", "fleet-book", "observed", "assignment", "sessions", "node-key"),
            self.watch.store,
            self._leave_nodes,
            partial(supervisor.end, "reconciler"),
            self.pool.close,
        )

    async def _leave_nodes(self) -> None:
        try:
            async with asyncio.timeout(DRAIN_S):
                if self._config.access.revoke_on_exit:
                    await self.core.end_access(END_SHUTDOWN)
                    await self.reconciler.sweep()
                    await self.core.close_finished_sessions()
                await self.reconciler.settle()
        except TimeoutError:
            pass  # the rows stay: nodes close by themselves at the expiry, and the next start does the rest

    # --- a changed configuration ------------------------------------------------------------------------------

    def appliers(self) -> Mapping[Area, Callable[[MinerConfig], Awaitable[None]]]:
        """What a new configuration changes while this runs, by area."""
        return {
            "access": self._apply_access,
            "health": self._apply_health,
            "assignment": self._apply_assignment,
            "nodes": self._apply_nodes,
        }

    async def _apply_access(self, config: MinerConfig) -> None:
        self._config = config
        self.core.set_session_lifetime(config.access.session_lifetime)
        self.core.set_wrapping(config.access.session_wrapper)
        self.access.certifying.turn(config.access.ssh_certificates)
        self.reconciler.set_limits(
            node_deadline_s=config.access.node_deadline,
            interval_s=config.access.reconcile_interval,
            adopt_leftovers=config.ssh_session.adopt_leftovers,
        )

    async def _apply_health(self, config: MinerConfig) -> None:
        self._config = config
        self.watch.set_pace(config)

    async def _apply_assignment(self, config: MinerConfig) -> None:
        self._config = config
        self.core.set_policy(_policy(config))
        self._assign_soon.set()

    async def _apply_nodes(self, config: MinerConfig) -> None:
        self._config = config
        nodes = fleet_from_config(config.node_management.nodes)
        before = self.fleet.nodes
        await self.core.replace_nodes(nodes)
        self.fleet.replace_nodes(nodes)
        self.fleet.announce(n for n in nodes if before.get(n.node_id) != n)
        self.reconciler.wake()
        self._session_check.set()

    # --- services ---------------------------------------------------------------------------------------------

    async def _keep_assigning(self) -> None:
        log.info("Starting validator discovery")
        while True:
            interval_s = pause_s = self._config.validator_assignment.interval
            try:
                await every_step(self.core.reassign, self._check_axon, self._read_weights, but=ChainUnavailable)
                if not self._axon.is_known:  # no node has been logged in to yet, perhaps
                    pause_s = min(interval_s, 60.0)
            except ChainUnavailable:
                pause_s = min(interval_s, 15.0)
            await sleep_or_wake(self._clock, pause_s, self._assign_soon)

    async def _check_axon(self) -> None:
        await self._axon.check(self._parts.metagraph.current()[0])

    async def _read_weights(self) -> None:
        await self._own_weights.read(self._parts.metagraph.current()[0])

    async def _address_seen_by_nodes(self) -> Endpoint | None:
        nodes = [n.target for n in self.fleet.nodes.values() if self.fleet.health(n.node_id).state == "healthy"]
        only_v4 = ":" not in self._config.validator_comms.host
        ip = await address_seen_by(self.pool, nodes, only_v4=only_v4)
        return None if ip is None else Endpoint(ip, self._config.bittensor.axon_port)

    async def _keep_closing_sessions(self) -> None:
        await whenever_woken(self._session_check, self._close_sessions)

    async def _close_sessions(self) -> None:
        await self.core.close_finished_sessions()
        for target in await self.core.members.forget_clean():
            await self.pool.drop(target)

    async def _keep_pruning(self) -> None:
        while True:
            now, store = self._clock.now(), self._parts.store
            await every_step(
                partial(store.nonces.prune, now - NONCE_LIFETIME_S),
                partial(store.openings.prune, now, HOUR_S),
                partial(store.grants.prune, now - HISTORY_S),
                partial(store.sessions.prune, now - HISTORY_S),
                partial(store.node_health.prune, now - HISTORY_S),
            )
            await self._clock.sleep(PRUNE_INTERVAL_S)

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
        self.access.ask_again(node_id)
        outcome = await self.reconciler.reconcile(node_id)
        if outcome.error is not None:
            raise ControlRefused(outcome.error.message, hint=outcome.error.hint, reason=outcome.error.code)
        return {"in_place": len(outcome.in_place)}

    async def _act_reassign(self, args: Mapping[str, object], report: Callable[[str], None]) -> Mapping[str, object]:
        report("reading the metagraph")
        await self.core.reassign()
        return self.core.assignment.to_json()

    async def _act_weights(self, args: Mapping[str, object], report: Callable[[str], None]) -> Mapping[str, object]:
        report("reading the weights")
        found = await self._own_weights.read(await self._parts.metagraph.refresh())
        for one in found:
            report(str(one))
        return {"validators": len(found), "with_weights": sum(one.share is not None for one in found)}

    async def _act_publish(self, args: Mapping[str, object], report: Callable[[str], None]) -> Mapping[str, object]:
        report("reading the metagraph")
        said = await self._axon.check(await self._parts.metagraph.refresh())
        report(said)
        return {"message": said}


def _policy(config: MinerConfig) -> Policy:
    section = config.validator_assignment
    return Policy(section.enabled, section.strategy, section.validator_hotkey, section.min_stake_threshold)


def _text(args: Mapping[str, object], name: str) -> str:
    value = args.get(name)
    if not isinstance(value, str) or not value:
        raise ControlRefused(f"'{name}' is missing", hint=f"give {name}=…", reason="bad_argument")
    return value
