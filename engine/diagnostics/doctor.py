"""One examination: looks at everything at the same time, judges, and reports while it goes on."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from engine.chain import Chain
from engine.clock import Clock, SystemClock
from engine.diagnostics.catalogue import CHECKS
from engine.diagnostics.chain_checks import ChainFacts
from engine.diagnostics.fleet_look import FleetLook, Nodes, look_at_access
from engine.diagnostics.host_facts import HostFacts
from engine.diagnostics.look_chain import look_at_chain
from engine.diagnostics.look_files import look_at_config, look_at_wallet
from engine.diagnostics.look_host import chain_clock, look_at_host, names_of, resolve_all
from engine.diagnostics.look_records import Records, read_records
from engine.diagnostics.look_server import look_at_server, read_server
from engine.diagnostics.look_service import ask_engine, ask_http, look_at_database, look_at_unit
from engine.diagnostics.model import HOST, Report, Result, Scope, Subject, climb
from engine.diagnostics.patient import Config, NodePatient, Patient
from engine.diagnostics.service_checks import BaseState, ServiceFacts
from engine.diagnostics.wallet_checks import WalletFacts
from engine.miner.axon import advertised_endpoint
from engine.ssh.admin import AdminLogin
from engine.ssh.pool import NodePool
from engine.ssh.target import NodeTarget
from engine.version import __version__

ALL_SCOPES = tuple(Scope)


@dataclass(frozen=True, slots=True)
class Progress:
    """What just became known: ``done`` of ``total`` looks, and the results of one subject so far."""

    done: int
    total: int
    subject: Subject
    scope: Scope
    results: tuple[Result, ...]


@dataclass(frozen=True, slots=True)
class Tools:
    """What the doctor works with. Inside an engine pool and chain are the engine's own; else they are made and closed.

    ``inside`` says that this process is the engine: its ports are its own, and it answers.
    """

    clock: Clock
    pool: NodePool | None = None
    admin: AdminLogin | None = None
    with_container: bool = True
    chain: Chain | None = None
    inside: bool = False


OnProgress = Callable[[Progress], None]


def _nobody(_: Progress) -> None:
    return None


class Doctor:
    """Examines one patient. Never raises for what it finds."""

    def __init__(self, patient: Patient, tools: Tools | None = None, *, on_progress: OnProgress = _nobody) -> None:
        self._patient = patient
        self._tools = tools or Tools(SystemClock())
        self._on_progress = on_progress
        self._done = 0
        self._total = 0

    async def examine(self, scopes: Collection[Scope] = ALL_SCOPES, nodes: Collection[str] | None = None) -> Report:
        """All checks of these scopes; ``nodes`` are node ids, None means all."""
        clock = self._tools.clock
        began, started_at = clock.monotonic(), clock.now()
        chosen = [one for one in self._patient.nodes() if nodes is None or one.target.node_id in nodes]
        found = await self._look_and_judge(frozenset(scopes), chosen)
        return Report(
            found,
            started_at,
            clock.monotonic() - began,
            __version__,
            str(self._patient.path or ""),
            self._patient.role,
        )

    async def examine_node(self, node: NodePatient) -> tuple[Result, ...]:
        """One node alone, for a screen or a wizard's page; it need not be in the configuration."""
        return await self._look_and_judge(frozenset({Scope.NODE}), [node])

    async def _look_and_judge(self, scopes: frozenset[Scope], nodes: Sequence[NodePatient]) -> tuple[Result, ...]:
        config = self._patient.config
        on_nodes = bool(scopes & {Scope.NODE, Scope.ACCESS, Scope.HOST}) and bool(nodes)
        if config is None:
            self._total = 1
            return await self._config() if Scope.CONFIG in scopes else ()
        local = scopes - {Scope.NODE, Scope.ACCESS}
        self._done, self._total = 0, len(local) + (len(nodes) if on_nodes else 0)
        # Several looks load the store in threads of their own, and two first imports at once find it half made.
        await asyncio.to_thread(importlib.import_module, "engine.store")
        async with asyncio.TaskGroup() as tasks:
            fleet = tasks.create_task(self._fleet(nodes, scopes)) if on_nodes else None
            host = tasks.create_task(self._host(config)) if Scope.HOST in scopes else None
            asked = Scope.SERVICE in scopes or Scope.CHAIN in scopes
            service = tasks.create_task(self._service(config)) if asked else None
            wallet = tasks.create_task(self._wallet(config)) if scopes & {Scope.WALLET, Scope.CHAIN} else None
            chain = (
                tasks.create_task(look_at_chain(config, self._tools.clock, self._tools.chain))
                if (Scope.CHAIN in scopes)
                else None
            )
            records = tasks.create_task(_records(config))
            own = tasks.create_task(self._config()) if Scope.CONFIG in scopes else None
        results: list[Result] = list(own.result()) if own else []
        seen = fleet.result() if fleet else Nodes()
        facts = host.result() if host else None
        if facts is not None:
            facts = replace(facts, skews_s=seen.skews, axon=seen.axon)
            results += self._tell(Scope.HOST, HOST, facts)
        if wallet and Scope.WALLET in scopes:
            results += self._tell(Scope.WALLET, HOST, wallet.result())
        if chain is not None and wallet is not None and service is not None:
            read = _chain_facts(chain.result(), wallet.result(), records.result(), service.result(), self._tools)
            results += self._tell(Scope.CHAIN, HOST, read)
        if service and Scope.SERVICE in scopes:
            results += self._tell(Scope.SERVICE, HOST, service.result())
        offset = facts.offset_s if facts is not None and len(seen.skews) > 1 else None
        is_off = offset is not None and facts is not None and abs(offset) > facts.skew_max_s
        return (*results, *self._of_nodes(scopes, nodes, seen, records.result(), offset if is_off and offset else 0.0))

    # --- looks -------------------------------------------------------------------------------------------------

    async def _config(self) -> tuple[Result, ...]:
        return self._tell(Scope.CONFIG, HOST, await asyncio.to_thread(look_at_config, self._patient))

    async def _wallet(self, config: Config) -> WalletFacts:
        return await asyncio.to_thread(look_at_wallet, config)

    async def _host(self, config: Config) -> HostFacts:
        facts, (good, bad), offset = await asyncio.gather(
            asyncio.to_thread(look_at_host, config),
            resolve_all(names_of(config)),
            chain_clock(config, self._tools.clock),
        )
        ports = facts.ports
        if self._tools.inside:
            ports = tuple(replace(port, is_ours=not port.is_free) for port in ports)
        return replace(facts, resolved=good, unresolved=bad, chain_offset_s=offset, ports=ports)

    async def _service(self, config: Config) -> ServiceFacts:
        facts, engine, base = await asyncio.gather(
            asyncio.to_thread(look_at_unit, self._patient),
            ask_engine(config),
            _database(config),
        )
        state, said = engine if not self._tools.inside else ("running", "this engine")
        database, database_said, path, recording, free = base
        facts = replace(
            facts,
            engine=state,
            engine_said=said,
            health="off" if not config.health.enabled else "",
            metrics="off" if not config.metrics.enabled else "",
            database=database,
            database_said=database_said,
            database_path=path,
            recording_bytes=recording,
            free_bytes=free,
        )
        if not facts.runs:
            return facts
        if config.health.enabled:
            health, words = await ask_http(config.health.host, config.health.port, "/health")
            facts = replace(facts, health=health, health_said=words)
        if config.metrics.enabled:
            section = config.metrics.prometheus
            metrics, words = await ask_http(section.host, section.port, section.path)
            facts = replace(facts, metrics=metrics, metrics_said=words)
        return facts

    async def _fleet(self, nodes: Sequence[NodePatient], scopes: frozenset[Scope]) -> Nodes:
        miner = self._patient.miner
        assert miner is not None or self._tools.pool is not None
        wanted = advertised_endpoint(miner) if miner is not None and Scope.HOST in scopes else None
        look = FleetLook(self._tools.clock, self._tools.pool, self._tools.admin, self._tools.with_container)
        bound = miner.validator_comms if miner is not None else None
        return await look.look(
            nodes,
            miner,
            advertised=None if wanted is None else (wanted.ip, wanted.port),
            bound=None if bound is None else (bound.host, bound.port),
            on_seen=lambda node, facts: self._tell(Scope.NODE, subject_of(node), facts),
            witnesses=self._witnesses(nodes) if Scope.NODE in scopes else (),
        )

    def _witnesses(self, nodes: Sequence[NodePatient]) -> tuple[NodeTarget, ...]:
        """Nodes that are not looked at, and might be asked to call one that is."""
        looked_at = {(one.target.host, one.target.port) for one in nodes}
        every = (one.target for one in self._patient.nodes())
        return tuple(one for one in every if (one.host, one.port) not in looked_at)

    # --- judgements --------------------------------------------------------------------------------------------

    def _of_nodes(
        self,
        scopes: frozenset[Scope],
        nodes: Sequence[NodePatient],
        seen: Nodes,
        records: Records,
        offset_s: float,
    ) -> list[Result]:
        results: list[Result] = []
        for node in nodes:
            facts = seen.facts.get(node.target.node_id)
            if facts is None:
                continue
            subject = subject_of(node)
            facts = replace(facts, own_offset_s=offset_s, key_trouble=seen.key_trouble)
            if Scope.NODE in scopes:
                results += climb(CHECKS[Scope.NODE], facts, subject)
            if Scope.ACCESS in scopes:
                access = look_at_access(facts, records, seen, self._tools.clock.now())
                results += climb(CHECKS[Scope.ACCESS], access, subject)
        return results

    def _tell(self, scope: Scope, subject: Subject, facts: Any) -> tuple[Result, ...]:
        results = climb(CHECKS[scope], facts, subject)
        self._done = min(self._done + 1, self._total)
        self._on_progress(Progress(self._done, self._total, subject, scope, results))
        return results


async def _records(config: Config) -> Records:
    if config.database.file is None:
        return await read_server(config.database.url)
    return await asyncio.to_thread(read_records, config)


async def _database(config: Config) -> tuple[BaseState, str, str, int | None, int | None]:
    if config.database.file is None:
        return *await look_at_server(config.database.url), "", None, None
    return await asyncio.to_thread(look_at_database, config)


def _chain_facts(
    facts: ChainFacts, wallet: WalletFacts, records: Records, service: ServiceFacts, tools: Tools
) -> ChainFacts:
    read_at = records.metagraph_read_at
    return replace(
        facts,
        hotkey=wallet.hotkey,
        saved_age_s=None if read_at is None else max(0.0, tools.clock.now() - read_at),
        engine_runs=service.engine == "running",
    )


def subject_of(node: NodePatient) -> Subject:
    """The node as results name it."""
    return Subject(node.target.node_id, node.label or node.target.label)
