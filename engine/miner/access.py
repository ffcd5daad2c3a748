"""The keys on the nodes, assembled: enrolment, reconciler, drift, live sessions, and the miner's own key."""

from __future__ import annotations

from engine.clock import Clock
from engine.config.miner import MinerConfig
from engine.control.actions import ActionTable
from engine.events import EventSink
from engine.miner.access_actions import AccessActions
from engine.miner.certifying import Certifying
from engine.miner.drift import DriftWatch
from engine.miner.enrolment import Enrolment
from engine.miner.grant_files import GrantFiles, PlacementBook
from engine.miner.live_sessions import LiveSessions
from engine.miner.reconciler import AUDIT_EVERY, Reconciler
from engine.miner.rotation import Rotation
from engine.ssh.pool import NodePool
from engine.ssh.target import NodeTarget
from engine.store import Store
from engine.supervisor import Supervisor


class NodeAccess:
    """Everything that reads or writes authorized_keys for this miner."""

    def __init__(
        self, config: MinerConfig, hotkey: str, pool: NodePool, store: Store, *, clock: Clock, emit: EventSink
    ) -> None:
        self.certifying = Certifying(config.data_dir, hotkey, pool.host_keys, clock=clock)
        self.certifying.turn(config.access.ssh_certificates)
        self._enrolment = Enrolment(
            pool, store.keyvalue, clock=clock, emit=emit, needs_certificates=lambda: self.certifying.is_on
        )
        drift = DriftWatch(store.keyvalue, clock=clock, emit=emit)
        placements = PlacementBook(store.keyvalue)
        self.reconciler = Reconciler(
            pool,
            store.grants,
            self._enrolment,
            drift,
            LiveSessions(pool, clock=clock, emit=emit),
            self.certifying,
            placements,
            clock=clock,
            emit=emit,
            node_deadline_s=config.access.node_deadline,
            interval_s=config.access.reconcile_interval,
            audit_interval_s=config.access.reconcile_interval * AUDIT_EVERY,
            adopt_leftovers=config.ssh_session.adopt_leftovers,
        )

        async def logins() -> dict[str, NodeTarget]:
            """Every account that the engine's key opens: those of the nodes, and those that keep a root's file."""
            targets = dict(self.reconciler.targets)
            return targets | await placements.logins(targets)

        self._rotation = Rotation(
            pool,
            config.ssh_session.miner_node_key_path,
            store.keyvalue,
            logins,
            clock=clock,
            emit=emit,
            node_deadline_s=config.access.node_deadline,
        )
        self._actions = AccessActions(
            pool,
            self.reconciler,
            drift,
            self._rotation,
            store.grants,
            placements,
            GrantFiles(pool, placements, self.reconciler, self._enrolment, self.ask_again, clock=clock, emit=emit),
            clock=clock,
            emit=emit,
        )

    async def restore(self) -> None:
        """Take up a change of the own key that was interrupted; before anything logs in. Raises ClientKeyUnusable."""
        await self._rotation.restore()

    def ask_again(self, node_id: str) -> None:
        """The operator has changed something on the node: measure it at the next visit."""
        self._enrolment.ask_again(node_id)

    def add_services(self, supervisor: Supervisor) -> None:
        """Register the services."""
        supervisor.add("reconciler", self.reconciler.run)
        supervisor.add("node-key", self._rotation.run)

    def add_actions(self, actions: ActionTable) -> None:
        """Register what an operator may do."""
        self._actions.register(actions)
