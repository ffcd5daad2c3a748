"""One examination: looks at everything at the same time, judges, and reports while it goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, replace

from engine.clock import Clock, SystemClock
from engine.diagnostics import config_checks, wallet_checks
from engine.diagnostics.catalogue import NODE
from engine.diagnostics.look_files import look_at_config, look_at_wallet
from engine.diagnostics.look_node import Visit, call_from, look_at_node
from engine.diagnostics.model import HOST, Report, Result, Scope, Subject, climb, conclude, skip
from engine.diagnostics.node_facts import NodeFacts
from engine.diagnostics.patient import NodePatient, Patient
from engine.errors import ClientKeyUnusable
from engine.ssh.admin import AdminLogin
from engine.ssh.host_keys import HostKeys
from engine.ssh.keys import ClientKey
from engine.ssh.pool import NodePool
from engine.version import __version__

NODES_AT_ONCE = 64
ALL_SCOPES = tuple(Scope)


@dataclass(frozen=True, slots=True)
class Progress:
    """What just became known: ``done`` of ``total`` looks, and the results of one subject."""

    done: int
    total: int
    subject: Subject
    scope: Scope
    results: tuple[Result, ...]


@dataclass(frozen=True, slots=True)
class Tools:
    """What the doctor works with. Inside an engine the pool is the engine's own; else one is made and closed."""

    clock: Clock
    pool: NodePool | None = None
    admin: AdminLogin | None = None
    with_container: bool = True


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
        looks: list[Awaitable[tuple[Result, ...]]] = []
        if Scope.CONFIG in scopes:
            looks.append(self._config())
        if Scope.WALLET in scopes and self._patient.config is not None:
            looks.append(self._wallet())
        with_nodes = Scope.NODE in scopes and bool(chosen)
        self._done, self._total = 0, len(looks) + (len(chosen) if with_nodes else 0)
        if with_nodes:
            looks.append(self._nodes(chosen))
        found = await asyncio.gather(*looks)
        return Report(
            tuple(result for group in found for result in group),
            started_at,
            clock.monotonic() - began,
            __version__,
            str(self._patient.path or ""),
            self._patient.role,
        )

    async def examine_node(self, node: NodePatient) -> tuple[Result, ...]:
        """One node alone, for a screen or a wizard's page."""
        self._done, self._total = 0, 1
        return await self._nodes([node])

    # --- scopes ------------------------------------------------------------------------------------------------

    async def _config(self) -> tuple[Result, ...]:
        facts = await asyncio.to_thread(look_at_config, self._patient)
        return self._tell(Scope.CONFIG, HOST, climb(config_checks.CHECKS, facts, HOST))

    async def _wallet(self) -> tuple[Result, ...]:
        assert self._patient.config is not None
        facts = await asyncio.to_thread(look_at_wallet, self._patient.config)
        return self._tell(Scope.WALLET, HOST, climb(wallet_checks.CHECKS, facts, HOST))

    async def _nodes(self, nodes: Sequence[NodePatient]) -> tuple[Result, ...]:
        try:
            pool, is_ours = self._pool()
        except ClientKeyUnusable as error:
            reason = f"host.ssh_key failed first: {error.message}"
            return tuple(
                result
                for node in nodes
                for result in self._tell(
                    Scope.NODE, _subject(node), tuple(conclude(check, _subject(node), skip(reason)) for check in NODE)
                )
            )
        try:
            facts = await self._look_at_all(pool, nodes)
            facts = await _call_each_other(pool, facts)
        finally:
            if is_ours:
                await pool.close()
        return tuple(
            result for node, one in zip(nodes, facts, strict=True) for result in climb(NODE, one, _subject(node))
        )

    async def _look_at_all(self, pool: NodePool, nodes: Sequence[NodePatient]) -> list[NodeFacts]:
        gate = asyncio.Semaphore(NODES_AT_ONCE)
        visit = Visit(self._tools.admin, self._tools.with_container)

        async def look(node: NodePatient) -> NodeFacts:
            async with gate:
                facts = await look_at_node(pool, node.target, node.limits, visit)
            subject = _subject(node)
            self._tell(Scope.NODE, subject, climb(NODE, facts, subject))
            return facts

        return list(await asyncio.gather(*map(look, nodes)))

    def _pool(self) -> tuple[NodePool, bool]:
        if self._tools.pool is not None:
            return self._tools.pool, False
        miner = self._patient.miner
        assert miner is not None
        key = ClientKey.from_file(miner.ssh_session.miner_node_key_path)
        pins = HostKeys(miner.data_dir / "known_hosts", is_looker=True)
        return NodePool(key, pins, clock=self._tools.clock, emit=lambda _: None), True

    def _tell(self, scope: Scope, subject: Subject, results: tuple[Result, ...]) -> tuple[Result, ...]:
        self._done = min(self._done + 1, self._total)
        self._on_progress(Progress(self._done, self._total, subject, scope, results))
        return results


async def _call_each_other(pool: NodePool, facts: list[NodeFacts]) -> list[NodeFacts]:
    """Each node that has a port is called from the next one that we are logged in to."""
    inside = [one.target for one in facts if one.account is not None and one.account.uid is not None]

    async def view(one: NodeFacts) -> NodeFacts:
        peers = [peer for peer in inside if peer.node_id > one.target.node_id] or inside
        others = [peer for peer in peers if (peer.host, peer.port) != (one.target.host, one.target.port)]
        if not others or not one.way.addresses or one.way.stop in ("resolve", "route", "tcp"):
            return one
        return replace(one, peer=await call_from(pool, others[0], one.way.addresses[0], one.target.port))

    return list(await asyncio.gather(*map(view, facts)))


def _subject(node: NodePatient) -> Subject:
    return Subject(node.target.node_id, node.label or node.target.label)
