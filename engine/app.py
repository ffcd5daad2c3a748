"""The composition root: a configuration in, a running engine out. The only place that knows every room."""

from __future__ import annotations

import asyncio
import getpass
import os
import secrets
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import structlog

from engine.chain import Chain, open_chain
from engine.chain.cached import MetagraphCache
from engine.clock import SystemClock
from engine.config import Loaded, MinerConfig, ValidatorConfig, detect_role, load_miner_config, load_validator_config
from engine.control.actions import ActionTable
from engine.control.paths import default_socket
from engine.control.server import ControlServer
from engine.control.state import LiveState
from engine.errors import ConfigInvalid
from engine.events import EngineStarted, EngineStopping, EventBus
from engine.identity.wallets import OpenWallet, open_wallet
from engine.miner.role import MinerParts, MinerRole
from engine.observe.http import HttpService, health_app, metrics_app
from engine.observe.logs import configure_logging, log_event
from engine.observe.metrics import MinerMetrics, ValidatorMetrics
from engine.observe.rest import rest_app
from engine.observe.ring import LogRing
from engine.ssh.host_keys import HostKeys
from engine.store import Store, open_store
from engine.supervisor import Supervisor
from engine.validator.role import ValidatorParts, ValidatorRole
from engine.version import __version__

log = structlog.get_logger()
METAGRAPH_KEY = "chain.metagraph"
Config = MinerConfig | ValidatorConfig
Role = MinerRole | ValidatorRole


def run_daemon(config_path: Path | None) -> int:
    """Run the engine that the configuration describes until it is told to stop; returns the exit status.

    Raises:
        BasilicaError: the engine cannot start; its message and hint are for the operator.
    """
    loaded = load(config_path)
    config = loaded.config
    ring = LogRing()
    configure_logging(config.logging.level, config.logging.format, ring)
    for warning in loaded.warnings:
        log.warning("config.warning", message=warning)
    section = config.bittensor
    wallet = open_wallet(
        section.wallet_path,
        section.wallet_name,
        section.hotkey_name,
        password_file=section.password_file,
        ask=getpass.getpass if sys.stdin.isatty() else None,
    )
    asyncio.run(Engine(config, wallet, ring).run())
    return 0


def load(config_path: Path | None) -> Loaded[MinerConfig] | Loaded[ValidatorConfig]:
    """Read the file as what it is: a miner's or a validator's. Raises ConfigInvalid."""
    if config_path is None:
        named = os.environ.get("BASILICA_CONFIG_PATH")
        if named is None:
            raise ConfigInvalid(
                "no configuration was named", hint="give --config miner.toml or --config validator.toml"
            )
        config_path = Path(named)
    if detect_role(config_path) == "validator":
        return load_validator_config(config_path)
    return load_miner_config(config_path)


def socket_of(config_path: Path) -> Path:
    """The control socket of the engine that this file configures. Raises ConfigInvalid."""
    return _socket(load(config_path).config)


@dataclass(frozen=True, slots=True)
class _Open:
    """What has to be closed again, in the opposite order."""

    store: Store
    chain: Chain
    metagraph: MetagraphCache


class Engine:
    """One miner or validator, from its configuration to its last event."""

    def __init__(self, config: Config, wallet: OpenWallet, ring: LogRing) -> None:
        self._config = config
        self._wallet = wallet
        self._ring = ring
        self._clock = SystemClock()
        self.bus = EventBus()
        self._state = LiveState()
        self._actions = ActionTable(clock=self._clock, emit=self.bus.emit)
        self._supervisor = Supervisor(self._clock, self.bus.emit)
        self._stop_reason = ""

    async def run(self) -> None:
        """Serve until SIGTERM, SIGINT or an operator's stop. Raises BasilicaError when it cannot start or go on."""
        control = ControlServer(
            _socket(self._config),
            self._state,
            clock=self._clock,
            logs=self._ring,
            actions=self._actions,
            instance=secrets.token_hex(8),
            build=__version__,
        )
        control.bind()
        store = await open_store(self._config.database.url, clock=self._clock)
        try:
            opened = self._open_chain(store)
            try:
                await self._serve(control, opened)
            finally:
                await opened.metagraph.close()
                await opened.chain.close()
        finally:
            await store.close()

    async def _serve(self, control: ControlServer, opened: _Open) -> None:
        events = opened.store.events.writer
        self.bus.subscribe(lambda event: control.publish(self._state.apply(event)))
        self.bus.subscribe(events.append)
        self.bus.subscribe(log_event)
        stopping = asyncio.Event()
        self._listen_for_stop(stopping)
        self._announce()
        role = self._build_role(opened)
        await opened.metagraph.restore()
        try:
            await role.start()
            role.add_services(self._supervisor)
            role.add_actions(self._actions)
            self._supervisor.add("control", control.serve)
            self._supervisor.add("events", events.run)
            self._supervisor.add("database", opened.store.watch)
            supervising = asyncio.create_task(self._supervisor.run())
            told = asyncio.create_task(stopping.wait())
            await asyncio.wait([supervising, told], return_when=asyncio.FIRST_COMPLETED)
            told.cancel()
            reason = self._stop_reason or "a service gave up"
            self.bus.emit(EngineStopping(at=self._clock.now(), reason=reason))
        finally:
            await role.stop()
        self._supervisor.stop()
        await supervising
        await events.flush()

    def _open_chain(self, store: Store) -> _Open:
        section = self._config.bittensor
        chain = open_chain(
            network=section.network,
            netuid=section.netuid,
            chain_endpoint=section.chain_endpoint,
            fallback_endpoints=section.fallback_endpoints,
            wallet=self._wallet,
            clock=self._clock,
        )
        metagraph = MetagraphCache(
            chain,
            clock=self._clock,
            max_age_s=section.metagraph_max_age,
            emit=self.bus.emit,
            load=partial(store.keyvalue.get, METAGRAPH_KEY),
            save=partial(store.keyvalue.put, METAGRAPH_KEY),
            own_hotkey=self._wallet.signer.hotkey,
            netuid=section.netuid,
        )
        return _Open(store, chain, metagraph)

    def _build_role(self, opened: _Open) -> Role:
        config = self._config
        host_keys = HostKeys(data_dir_of(config) / "known_hosts")
        signer = self._wallet.signer
        role: Role
        render: Callable[[], bytes]
        if isinstance(config, MinerConfig):
            metrics = MinerMetrics(self._state, self._clock)
            self.bus.subscribe(metrics.listen)
            render = metrics.render
            role = MinerRole(
                MinerParts(
                    config, opened.store, opened.chain, signer, opened.metagraph, self._clock, self.bus, host_keys
                )
            )
        else:
            counted = ValidatorMetrics(self._state)
            self.bus.subscribe(counted.listen)
            render = counted.render
            role = ValidatorRole(
                ValidatorParts(config, opened.store, signer, opened.metagraph, self._clock, self.bus, host_keys)
            )
            host, _, port = config.api.bind_address.rpartition(":")
            self._add_http(HttpService("rest", rest_app(self._state), host, int(port)))
        if config.metrics.enabled:
            prometheus = config.metrics.prometheus
            app = metrics_app(render, prometheus.path)
            self._add_http(HttpService("metrics", app, prometheus.host, prometheus.port))
        if config.health.enabled:
            self._add_http(HttpService("health", health_app(self._state), config.health.host, config.health.port))
        return role

    def _add_http(self, service: HttpService) -> None:
        self._supervisor.add(service.name, service.run)

    def _announce(self) -> None:
        section = self._config.bittensor
        self.bus.emit(
            EngineStarted(
                at=self._clock.now(),
                role=_role_name(self._config),
                name=self._config.engine.name or _role_name(self._config),
                build=__version__,
                hotkey=self._wallet.signer.hotkey,
                network=section.network,
                netuid=section.netuid,
                compressed_time=self._config.engine.compressed_time,
            )
        )

    def _listen_for_stop(self, stopping: asyncio.Event) -> None:
        def stop(reason: str) -> None:
            self._stop_reason = self._stop_reason or reason
            stopping.set()

        async def act(args: Mapping[str, object], report: Callable[[str], None]) -> Mapping[str, object]:
            report("stopping; what is granted ends by itself")
            asyncio.get_running_loop().call_later(0.2, stop, "stopped by the operator")
            return {}

        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop, signal.Signals(number).name)
        self._actions.register("engine.stop", act, help="stop this engine", danger=True)


def data_dir_of(config: Config) -> Path:
    """Where known hosts and other small files live: configured, else beside the database file, else ``./data``."""
    if config.engine.data_dir is not None:
        return config.engine.data_dir
    file = config.database.file
    return Path("data") if file is None else file.parent


def _socket(config: Config) -> Path:
    return config.engine.socket or default_socket(config.engine.name or _role_name(config))


def _role_name(config: Config) -> str:
    return "miner" if isinstance(config, MinerConfig) else "validator"
