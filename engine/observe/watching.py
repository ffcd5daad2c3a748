"""Alerts, audit and time series of one engine, put together: what they listen to, what they run, how they end."""

from __future__ import annotations

from pathlib import Path

import structlog

from engine.clock import Clock
from engine.config.common import RoleConfig
from engine.config.miner import MinerConfig
from engine.config.validator import ValidatorConfig
from engine.control.actions import ActionTable
from engine.control.state import LiveState
from engine.errors import StoreUnusable
from engine.events import EventBus
from engine.observe.alerts import AlertService, no_keys, stuck_keys_of
from engine.observe.alerts_actions import add_alert_actions
from engine.observe.alerts_probe import HostProbe
from engine.observe.audit import AuditLog
from engine.observe.delivery import Delivery
from engine.observe.history import History
from engine.store import Store
from engine.supervisor import Supervisor

log = structlog.get_logger()


class Watching:
    """Made after the live state subscribed to the bus, so that rules judge what an event already changed."""

    def __init__(
        self,
        config: MinerConfig | ValidatorConfig,
        store: Store,
        state: LiveState,
        bus: EventBus,
        *,
        clock: Clock,
        hotkey: str,
        hotkey_file: Path,
    ) -> None:
        is_miner = isinstance(config, MinerConfig)
        role = "miner" if is_miner else "validator"
        sender = {"name": config.engine.name or role, "role": role, "hotkey": hotkey}
        self.audit = AuditLog(store.audit, store.events, clock=clock, emit=bus.emit)
        self.delivery = Delivery(config.alerts, sender, clock=clock, emit=bus.emit)
        self.alerts = AlertService(
            state,
            store,
            self.delivery,
            _probe(config, hotkey_file),
            config=config.alerts,
            clock=clock,
            emit=bus.emit,
            stuck_keys=stuck_keys_of(store) if is_miner else no_keys,
            chain_interval_s=_chain_interval_s(config),
        )
        self.history = History(store.history, state, clock=clock, quick=config.engine.compressed_time)
        bus.subscribe(self.history.listen)
        bus.subscribe(self.audit.listen)
        bus.subscribe(self.alerts.listen)

    async def start(self) -> None:
        """Take over what earlier runs left. Raises StoreUnusable."""
        await self.history.restore()
        await self.audit.start()
        await self.alerts.restore()

    def add_services(self, supervisor: Supervisor) -> None:
        """Register the services."""
        supervisor.add("history", self.history.run)
        supervisor.add("audit", self.audit.run)
        supervisor.add("alerts", self.alerts.run)
        supervisor.add("delivery", self.delivery.run)

    def add_actions(self, actions: ActionTable) -> None:
        """Register what an operator may do."""
        add_alert_actions(actions, self.alerts)

    async def apply(self, config: RoleConfig) -> None:
        """Take over a changed ``[alerts]``."""
        self.alerts.configure(config.alerts)

    async def close(self) -> None:
        """Put the last entries on record; a store that fails is said, and nothing more can be done."""
        try:
            await self.history.store()
        except StoreUnusable as error:
            log.warning("history.not_stored", error=str(error))
        try:
            await self.audit.close()
        except StoreUnusable as error:
            log.error("audit.not_stored", error=str(error), queued=len(self.audit))


def _probe(config: MinerConfig | ValidatorConfig, hotkey_file: Path) -> HostProbe:
    file = config.database.file
    directories = {config.data_dir, *([] if file is None else [file.parent])}
    certificate = key = None
    if isinstance(config, MinerConfig) and config.validator_comms.tls_enabled:
        certificate, key = config.validator_comms.tls_cert_path, config.validator_comms.tls_key_path
    return HostProbe(tuple(sorted(directories)), hotkey_file, certificate, key)


def _chain_interval_s(config: MinerConfig | ValidatorConfig) -> float:
    if isinstance(config, MinerConfig):
        return config.validator_assignment.interval
    return config.verification.verification_interval
