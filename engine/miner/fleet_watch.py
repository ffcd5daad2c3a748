"""The watching half of the miner, assembled: fleet, its book and keeper, and what validators publish."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from engine.clock import Clock
from engine.config.miner import MinerConfig, NodeManagementConfig
from engine.control.actions import ActionTable
from engine.errors import ControlRefused
from engine.events import EventBus
from engine.identity.signatures import Signer
from engine.miner.fleet import Fleet, FleetNode
from engine.miner.fleet_book import FleetBook
from engine.miner.fleet_keeper import FleetKeeper
from engine.miner.fleet_schedule import Schedule
from engine.miner.observed import Observer
from engine.miner.ramp import RampRules
from engine.ssh.pool import NodePool
from engine.store.node_health import NodeHealthRepository
from engine.supervisor import Supervisor


class FleetWatch:
    """``fleet`` and everything that lives from its checks."""

    def __init__(
        self,
        config: MinerConfig,
        nodes: Iterable[FleetNode],
        pool: NodePool,
        repository: NodeHealthRepository,
        *,
        signer: Signer,
        clock: Clock,
        bus: EventBus,
    ) -> None:
        section = config.node_management
        rules = RampRules(profile=section.ramp_profile)
        self._book = FleetBook(clock=clock, emit=bus.emit, success_window_s=section.success_window, rules=rules)
        self.fleet = Fleet(
            nodes,
            pool,
            self._book,
            clock=clock,
            emit=bus.emit,
            schedule=_schedule(section),
            timeout_s=section.health_check_timeout,
        )
        self._keeper = FleetKeeper(self._book, repository, clock=clock)
        self._observer = Observer(
            metrics_url=config.observed.metrics_url,
            rest_url=config.observed.rest_url,
            rest_hotkey=config.observed.rest_hotkey,
            signer=signer,
            interval_s=config.observed.interval,
            timeout_s=config.observed.timeout,
            node_ids=lambda: self.fleet.nodes,
            clock=clock,
            emit=bus.emit,
        )
        bus.subscribe(self._keeper.listen)
        bus.subscribe(self._observer.listen)

    async def restore(self) -> None:
        """Take over what the last run knew. Raises StoreUnusable."""
        await self._keeper.restore()

    async def store(self) -> None:
        """Store what is not stored yet. Raises StoreUnusable."""
        await self._keeper.store()

    def add_services(self, supervisor: Supervisor) -> None:
        """Register the services."""
        supervisor.add("fleet", self.fleet.run)
        supervisor.add("fleet-book", self._keeper.run)
        if self._observer.is_configured:
            supervisor.add("observed", self._observer.run)

    def add_actions(self, actions: ActionTable) -> None:
        """Register what an operator may ask of the fleet."""
        actions.register("fleet.check", self._act_check_all, help="check every node now", danger=False)
        actions.register("node.check", self._act_check, help="check a node now", danger=False)
        actions.register(
            "node.what_if", self._act_what_if, help="what a failure of a node would cost now", danger=False
        )

    def set_pace(self, config: MinerConfig) -> None:
        """Follow a changed configuration."""
        section = config.node_management
        self.fleet.set_pace(schedule=_schedule(section), timeout_s=section.health_check_timeout)

    async def _act_check_all(self, args: Mapping[str, object], report: Callable[[str], None]) -> Mapping[str, object]:
        report(f"checking {len(self.fleet.nodes)} nodes")
        passed = await self.fleet.sweep()
        return {"passed": passed, "nodes": len(self.fleet.nodes)}

    async def _act_check(self, args: Mapping[str, object], report: Callable[[str], None]) -> Mapping[str, object]:
        node = self._node(args)
        report(f"checking {node.label}")
        checked = await self.fleet.check(node, with_host=True)
        return {"ok": checked.ok, "latency_ms": checked.latency_ms, "message": checked.message, "hint": checked.hint}

    async def _act_what_if(self, args: Mapping[str, object], report: Callable[[str], None]) -> Mapping[str, object]:
        found, cost, windows = self._book.what_if(self._node(args).node_id)
        return {
            "estimate": True,
            "validator_hotkey": found.hotkey,
            "ramp_minutes": found.ramp.minutes,
            "effective_gpus_lost": cost.effective_gpus,
            "share_lost_percent": 100.0 * cost.share,
            "minutes_lost": cost.minutes,
            "full_at_before": cost.full_at_before,
            "full_at_after": cost.full_at_after,
            "windows": [
                {"begins_at": window.begins_at, "ends_at": window.ends_at, "misses": window.misses}
                for window in windows
            ],
        }

    def _node(self, args: Mapping[str, object]) -> FleetNode:
        node = self.fleet.nodes.get(str(args.get("node_id", "")))
        if node is None:
            raise ControlRefused("no such node", hint="give node_id=… of a configured node", reason="unknown_node")
        return node


def _schedule(section: NodeManagementConfig) -> Schedule:
    return Schedule(section.health_check_interval, section.max_retry_attempts, section.auto_recovery)
