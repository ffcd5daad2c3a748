"""The composition root: a configuration in, a running engine out. The only place that knows every room."""

from __future__ import annotations

import asyncio
import getpass
import secrets
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import structlog

from engine import eventloop
from engine.chain import Chain, open_chain
from engine.chain.cached import MetagraphCache
from engine.clock import SystemClock
from engine.config import Loaded, MinerConfig, ValidatorConfig
from engine.configured import Config, data_dir_of, engine_name, load, role_name, socket_to_serve
from engine.control.actions import ActionTable
from engine.control.ring import LogRing
from engine.control.server import ControlServer
from engine.control.state import LiveState, Touched
from engine.errors import ControlRefused
from engine.events import EngineStarted, EngineStopping, Event, EventBus
from engine.examining import add_doctor, add_ladder, add_outside_view
from engine.heap import keep_heap_small
from engine.identity.wallets import OpenWallet, open_wallet
from engine.lean import load_sdk
from engine.lifecycle.plan import Area
from engine.lifecycle.reload import Applier, Reloader
from engine.miner.role import MinerParts, MinerRole
from engine.observe.history import History
from engine.observe.history_rules import Bucket
from engine.observe.http import HttpService, health_answer, health_app, metrics_app
from engine.observe.logs import LogFile, configure_logging, log_event
from engine.observe.metrics import MinerMetrics, ValidatorMetrics
from engine.observe.service_manager import ServiceManager
from engine.observe.watching import Watching
from engine.recording.hours import HOURS, hour_bucket
from engine.recording.recorder import Recorder
from engine.ssh.host_keys import HostKeys
from engine.store import Store, open_store
from engine.supervisor import Supervisor
from engine.version import __version__

if TYPE_CHECKING:
    from engine.rest.process import RestProcess
    from engine.validator.role import ValidatorRole

log = structlog.get_logger()
METAGRAPH_KEY = "chain.metagraph"
Role: TypeAlias = "MinerRole | ValidatorRole"


def run_daemon(config_path: Path | None, *, revoke_on_exit: bool = False) -> int:
    """Run the engine that the configuration describes until it is told to stop; returns the exit status.

    ``revoke_on_exit`` turns a miner's ``access.revoke_on_exit`` on, whatever the file says.

    Raises:
        BasilicaError: the engine cannot start; its message and hint are for the operator.
    """
    read = partial(_load_with, config_path, revoke_on_exit=revoke_on_exit)
    loaded = read()
    config = loaded.config
    keep_heap_small()
    eventloop.raise_open_files()
    ring = LogRing()
    set_up_logging(config, ring)
    log.info(f"Loaded configuration from: {loaded.path}")
    for warning in loaded.warnings:
        log.warning("config.warning", message=warning)
    load_sdk()
    section = config.bittensor
    wallet = open_wallet(
        section.wallet_path,
        section.wallet_name,
        section.hotkey_name,
        password_file=section.password_file,
        ask=getpass.getpass if sys.stdin.isatty() else None,
    )
    eventloop.run(Engine(config, wallet, ring, read=read, path=loaded.path).run())
    log.info(f"Basilica {role_name(config).capitalize()} stopped")
    return 0


def _load_with(config_path: Path | None, *, revoke_on_exit: bool) -> Loaded[MinerConfig] | Loaded[ValidatorConfig]:
    """``load`` with what the command line asked for, which outlives a reload."""
    loaded = load(config_path)
    if not revoke_on_exit or not isinstance(loaded.config, MinerConfig):
        return loaded
    access = loaded.config.access.model_copy(update={"revoke_on_exit": True})
    return replace(loaded, config=loaded.config.model_copy(update={"access": access}))


def set_up_logging(config: Config, ring: LogRing) -> None:
    """Log as ``[logging]`` says. Raises ConfigInvalid when its file cannot be written."""
    section = config.logging
    file = None if section.file is None else LogFile(section.file, section.max_file_size, section.max_files)
    configure_logging(section.level, section.format, ring, file=file)


@dataclass(frozen=True, slots=True)
class _Open:
    """What has to be closed again, in the opposite order."""

    store: Store
    chain: Chain
    metagraph: MetagraphCache


class Engine:
    """One miner or validator, from its configuration to its last event."""

    def __init__(
        self,
        config: Config,
        wallet: OpenWallet,
        ring: LogRing,
        *,
        read: Callable[[], Loaded[MinerConfig] | Loaded[ValidatorConfig]] | None = None,
        path: Path | None = None,
    ) -> None:
        """``read`` loads the configuration again when a reload is asked for; ``path`` is its file."""
        self._config = config
        self._read = read
        self._path = path
        self._wallet = wallet
        self._ring = ring
        self._clock = SystemClock()
        self.bus = EventBus()
        self._state = LiveState()
        self._actions = ActionTable(clock=self._clock, emit=self.bus.emit)
        self._supervisor = Supervisor(self._clock, self.bus.emit)
        self._stop_reason = ""
        self._manager = ServiceManager(self._state)
        self._history: History | None = None
        self._store: Store | None = None
        self._recorder: Recorder | None = None
        self._rest: RestProcess | None = None
        self._on_touched: list[Callable[[Touched], None]] = []

    async def run(self) -> None:
        """Serve until SIGTERM, SIGINT or an operator's stop. Raises BasilicaError when it cannot start or go on."""
        control = ControlServer(
            socket_to_serve(self._config),
            self._state,
            clock=self._clock,
            logs=self._ring,
            actions=self._actions,
            instance=secrets.token_hex(8),
            build=__version__,
            history=self._read_history,
            past=self._read_past,
        )
        control.bind()
        async with AsyncExitStack() as closing:
            closing.callback(control.close)
            database = self._config.database
            store = await open_store(
                database.url,
                clock=self._clock,
                connect_timeout_s=database.connect_timeout,
                max_connections=database.max_connections,
                may_migrate=database.run_migrations,
            )
            closing.push_async_callback(store.close)
            opened = self._open_chain(store)
            closing.push_async_callback(opened.chain.close)
            closing.push_async_callback(opened.metagraph.close)
            closing.push_async_callback(self._actions.close)
            await self._serve(control, opened)

    async def _serve(self, control: ControlServer, opened: _Open) -> None:
        events = opened.store.events.writer
        self._on_touched.append(control.publish)
        self.bus.subscribe(self._fold, passing=True)
        self.bus.subscribe(events.append)
        self.bus.subscribe(log_event)
        self.bus.subscribe(self._manager.listen)
        watching = Watching(
            self._config,
            opened.store,
            self._state,
            self.bus,
            clock=self._clock,
            hotkey=self._wallet.signer.hotkey,
            hotkey_file=self._wallet.hotkey_path,
        )
        config = self._config
        recorder = Recorder(
            config.recording,
            config.recording_dir,
            self._state,
            self._ring,
            clock=self._clock,
            emit=self.bus.emit,
            stored_series=watching.history.stored,
        )
        self.bus.subscribe(recorder.listen)
        self._recorder = recorder
        watching.history.on_full = recorder.note_bucket
        self._history, self._store = watching.history, opened.store
        stopping = asyncio.Event()
        self._listen_for_stop(stopping)
        self._announce()
        await watching.start()
        role = self._build_role(opened)
        await opened.metagraph.restore()
        try:
            try:
                await role.start()
                role.add_services(self._supervisor)
                role.add_actions(self._actions)
                watching.add_services(self._supervisor)
                watching.add_actions(self._actions)
                self._add_examinations(role, opened.chain)
                self._add_reloading(role, watching)
                self._add_common_services(control, opened.store, recorder)
                log.info(f"All {role_name(config)} services started successfully")
                eventloop.keep_what_is_loaded()
                supervising = asyncio.create_task(self._supervisor.run())
                told = asyncio.create_task(stopping.wait())
                await asyncio.wait([supervising, told], return_when=asyncio.FIRST_COMPLETED)
                told.cancel()
                reason = self._stop_reason or "a service gave up"
                self.bus.emit(EngineStopping(at=self._clock.now(), reason=reason))
            finally:
                await role.stop(self._supervisor)
            self._supervisor.stop()
            await supervising
        finally:
            await watching.close()
            await recorder.close()
        await events.flush()

    def _fold(self, event: Event) -> None:
        touched = self._state.apply(event)
        for tell in self._on_touched:
            tell(touched)

    def _add_common_services(self, control: ControlServer, store: Store, recorder: Recorder) -> None:
        self._supervisor.add("control", control.serve)
        self._supervisor.add("events", store.events.writer.run)
        if self._config.recording.enabled:
            self._supervisor.add("recording", recorder.run)
        self._supervisor.add("database", store.watch)
        if self._manager.is_there:
            self._supervisor.add("service-manager", self._manager.run)

    def _note_hour(self, bucket: Bucket) -> None:
        if self._recorder is not None:
            self._recorder.note_bucket(HOURS.name, bucket)

    async def _read_history(self, series: str, subject: str, since: float) -> Sequence[tuple[float, float]]:
        if self._history is None:
            raise ControlRefused("the engine is starting; its history is not open yet", reason="starting")
        return await self._history.read(series, subject, since)

    async def _read_past(self, subject: str, kinds: Sequence[str], limit: int) -> Sequence[Mapping[str, object]]:
        if self._store is None:
            raise ControlRefused("the engine is starting; its events are not open yet", reason="starting")
        return [stored.record for stored in await self._store.events.about(subject, kinds, limit)]

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
            metrics = MinerMetrics(self._state, self._clock, opened.store)
            self.bus.subscribe(metrics.listen)
            render = metrics.render
            role = MinerRole(
                MinerParts(
                    config,
                    opened.store,
                    opened.chain,
                    signer,
                    opened.metagraph,
                    self._clock,
                    self.bus,
                    host_keys,
                    self._health_document,
                )
            )
        else:
            # Imported here: a miner needs none of the validator's rooms, and memory is counted.
            from engine.rest.facts import FactGauges  # noqa: PLC0415
            from engine.rest.gauges import RestGauges  # noqa: PLC0415
            from engine.rest.key_actions import add_key_actions  # noqa: PLC0415
            from engine.rest.keys import ApiKeys  # noqa: PLC0415
            from engine.rest.process import RestProcess  # noqa: PLC0415
            from engine.rest.views import views_of  # noqa: PLC0415
            from engine.validator.role import ValidatorParts, ValidatorRole  # noqa: PLC0415
            from engine.validator.score_notes import ScoreNotes  # noqa: PLC0415

            counted = ValidatorMetrics(self._state, opened.store)
            self.bus.subscribe(counted.listen)
            render = counted.render
            role = ValidatorRole(
                ValidatorParts(
                    config, opened.store, opened.chain, signer, opened.metagraph, self._clock, self.bus, host_keys
                )
            )
            keys = ApiKeys(opened.store.api_keys, self._clock, configured=config.api.api_key)
            add_key_actions(self._actions, keys)
            views = views_of(config, opened.store, self._state, self._clock)
            facts = FactGauges(views, opened.store.weights, self._clock)
            counted.registry.register(facts)
            self._supervisor.add("facts", facts.run)
            scores = ScoreNotes(opened.store.score_hours, views.scores_of_nodes, config.scoring.profile, self._clock)
            by_checks = config.scoring.profile != "documented"
            scores.on_hour = lambda hour, rows: self._note_hour(hour_bucket(hour, rows, by_checks=by_checks))
            self._supervisor.add("scores", scores.run)
            if self._history is not None:
                self._history.hourly = scores.points
            rest = RestProcess(config, self._state, keys, self._actions, counted.http)
            keys.on_change = rest.forget_keys
            self._on_touched.append(rest.note)
            counted.registry.register(RestGauges(rest))
            self._rest = rest
            self._supervisor.add("rest", rest.run)
        if config.metrics.enabled:
            prometheus = config.metrics.prometheus
            app = metrics_app(render, prometheus.path)
            self._add_http(HttpService("metrics", app, prometheus.host, prometheus.port))
        if config.health.enabled:
            self._add_http(HttpService("health", health_app(self._state), config.health.host, config.health.port))
        return role

    def _health_document(self) -> tuple[int, bytes]:
        answer = health_answer(self._state)
        return answer.status_code, bytes(answer.body)

    def _add_http(self, service: HttpService) -> None:
        self._supervisor.add(service.name, service.run)

    def _announce(self) -> None:
        section = self._config.bittensor
        limits = self._config.verification if isinstance(self._config, ValidatorConfig) else None
        self.bus.emit(
            EngineStarted(
                at=self._clock.now(),
                role=role_name(self._config),
                name=engine_name(self._config),
                build=__version__,
                hotkey=self._wallet.signer.hotkey,
                network=section.network,
                netuid=section.netuid,
                compressed_time=self._config.engine.compressed_time,
                full_slots=0 if limits is None else limits.max_concurrent_full_validations,
                miner_slots=0 if limits is None else limits.max_concurrent_verifications,
            )
        )

    def _add_examinations(self, role: Role, chain: Chain) -> None:
        actions, clock, bus = self._actions, self._clock, self.bus
        pool = role.pool if isinstance(role, MinerRole) else None
        add_doctor(actions, self._config, self._path, clock=clock, bus=bus, pool=pool, chain=chain)
        if isinstance(role, MinerRole):
            add_outside_view(actions, self._supervisor, role, self._state, clock=clock, bus=bus)

    def _add_reloading(self, role: Role, watching: Watching) -> None:
        appliers: dict[Area, Applier] = {"logging": self._apply_logging, "alerts": watching.apply}
        if isinstance(role, MinerRole):
            appliers |= role.appliers()
        reloader = Reloader(self._config, self._read, appliers, clock=self._clock, emit=self.bus.emit)
        reloader.add_actions(self._actions)
        if isinstance(role, MinerRole):
            add_ladder(self._actions, reloader, self._clock)
        self._supervisor.add("reload", reloader.run)

        def hang_up() -> None:
            self._manager.reloading()
            reloader.ask()

        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, hang_up)

    async def _apply_logging(self, config: Config) -> None:
        set_up_logging(config, self._ring)
        if self._rest is not None and isinstance(config, ValidatorConfig):
            await self._rest.apply_logging(config)

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
