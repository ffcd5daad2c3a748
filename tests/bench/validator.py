"""A validator at the size of a full subnet: a lightweight round, full verifications in flight, scores and weights.

Miners and nodes are ``tests.support.miner_swarm``'s: real gRPC, real SSH, commands answered from memory, on the same
cores as the validator.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from engine import eventloop
from engine.chain import Axon, Metagraph, MetagraphCache, Neuron
from engine.clock import SystemClock
from engine.config.validator import ValidatorBittensorConfig, ValidatorConfig, ValidatorDatabaseConfig
from engine.control.state import LiveState, Touched
from engine.events import Event, EventBus, NodeVerified
from engine.scores.history import Rate
from engine.scores.ramp import ramp_since
from engine.ssh.host_keys import HostKeys
from engine.store import Store, open_store
from engine.store.records import GpuClaim, ValidatedNode
from engine.validator.role import ValidatorParts, ValidatorRole
from engine.validator.scoring import (
    PROFILES,
    CategoryRule,
    Emission,
    GpuGroup,
    MinerFacts,
    NodeFacts,
    RoundContext,
    merge_groups,
    score_round,
)
from tests.bench import Figure, at_most
from tests.engine.door_support import signer
from tests.support.fleet_bench import rss_mib
from tests.support.miner_swarm import Swarm, gpu_uuid, miner_ip, miner_signer, node_id, node_ip

MINERS, NODES = 256, 8
IN_FLIGHT = 1024
SETTLE_S = 240.0


def measure() -> list[Figure]:
    """The four figures of a full subnet."""
    with Swarm(MINERS, NODES) as swarm:
        seconds, cpu_s, passed = eventloop.run(_light_round(swarm))
    with Swarm(IN_FLIGHT // NODES, NODES, holds=True) as swarm:
        held, memory = eventloop.run(_in_flight(swarm))
    passed_all = passed == MINERS * NODES
    note = f"{passed} of {MINERS * NODES} passed, {cpu_s:.1f} s of CPU in the validator"
    flight = f"{held} in flight"
    return [
        Figure(
            f"lightweight round, {MINERS} miners x {NODES} nodes", seconds if passed_all else None, "s", at_most(60),
            note,
        ),
        Figure(
            f"memory, {IN_FLIGHT} full verifications in flight", memory if held >= IN_FLIGHT else None, "MiB",
            at_most(1430), flight,
        ),
        *_scores(),
    ]  # fmt: skip


class _FixedChain:
    """A chain that says always the same."""

    def __init__(self, swarm: Swarm) -> None:
        self._metagraph = Metagraph(
            39,
            1,
            tuple(_neuron(number, miner_signer(number).hotkey, swarm.grpc_port) for number in range(swarm.miners)),
        )

    async def metagraph(self) -> Metagraph:
        return self._metagraph

    async def block_number(self) -> int:
        return 1

    async def weights(self) -> dict[int, dict[int, float]]:
        return {}

    async def serve_axon(self, ip: str, port: int) -> None:
        raise NotImplementedError

    async def set_weights(self, weights: object, version_key: int = 0) -> None:
        raise NotImplementedError

    async def close(self) -> None:
        return


def _neuron(uid: int, hotkey: str, port: int) -> Neuron:
    return Neuron(
        uid=uid, hotkey=hotkey, coldkey=f"C{uid}", stake_tao=0.0, validator_permit=False,
        axon=Axon(miner_ip(uid), port), active=True, incentive=0.0, dividends=0.0, trust=0.0, consensus=0.0,
        emission_tao=0.0, last_update=0,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Running:
    """A validator role, and what is around it."""

    role: ValidatorRole
    config: ValidatorConfig
    store: Store
    state: LiveState
    bus: EventBus
    hotkey: str
    tally: Counter[bool]
    on_touched: list[Callable[[Touched], None]]


@asynccontextmanager
async def validator_over(swarm: Swarm, *, known: bool) -> AsyncIterator[Running]:
    """A validator role over a real store; ``known``: it has verified every node fully a moment ago."""
    clock, bus, state = SystemClock(), EventBus(), LiveState()
    tally: Counter[bool] = Counter()
    with tempfile.TemporaryDirectory(prefix="basilica-bench-") as directory:
        config = ValidatorConfig(
            bittensor=ValidatorBittensorConfig(network="local", netuid=39, external_ip="127.0.0.1"),
            database=ValidatorDatabaseConfig(url=f"sqlite:{Path(directory) / 'v.db'}"),
        )
        store = await open_store(config.database.url, clock=clock)
        if known:
            await _know(store, swarm, clock.now())
        chain = _FixedChain(swarm)
        cache = MetagraphCache(chain, clock=clock, max_age_s=3600.0, emit=bus.emit)
        own = signer("//Alice")

        on_touched: list[Callable[[Touched], None]] = []

        def listen(event: Event) -> None:
            touched = state.apply(event)
            for tell in on_touched:
                tell(touched)
            if type(event) is NodeVerified:
                tally[event.ok] += 1

        bus.subscribe(listen)
        role = ValidatorRole(ValidatorParts(config, store, chain, own, cache, clock, bus, HostKeys(None)))
        try:
            yield Running(role, config, store, state, bus, own.hotkey, tally, on_touched)
        finally:
            await role.end_rounds()
            await cache.close()
            await store.close()


async def _know(store: Store, swarm: Swarm, now: float) -> None:
    for miner in range(swarm.miners):
        hotkey = miner_signer(miner).hotkey
        for node in range(swarm.nodes):
            ip, name = node_ip(miner, node), node_id(miner, node)
            row = ValidatedNode(
                hotkey, name, miner, f"basilica@{ip}:{swarm.ssh_port}", "online", now, now, last_full_ok=True,
                full_ok_at=now, run_since=now, gpu_model="NVIDIA H100 80GB HBM3", gpu_count=1,
            )  # fmt: skip
            await store.validated.put(row, claims=[GpuClaim(gpu_uuid(ip), hotkey, name, 0, row.gpu_model, 81559, now)])


async def _light_round(swarm: Swarm) -> tuple[float, float, int]:
    async with validator_over(swarm, known=True) as running:
        started, cpu = time.monotonic(), time.process_time()
        await running.role.verify_all()
        return time.monotonic() - started, time.process_time() - cpu, running.tally[True]


async def _in_flight(swarm: Swarm) -> tuple[int, float]:
    """How many were in flight, each beyond its login, and the memory of this process then."""
    async with validator_over(swarm, known=False) as running:
        role = running.role
        round_ = asyncio.create_task(role.verify_all())
        deadline = time.monotonic() + SETTLE_S
        while role.full_in_flight < IN_FLIGHT and time.monotonic() < deadline:
            await asyncio.sleep(0.5)
        await asyncio.sleep(15.0)
        found = role.full_in_flight, rss_mib()
        round_.cancel()
        await asyncio.gather(round_, return_exceptions=True)
        return found


def _scores() -> list[Figure]:
    now = 1_790_000_000.0
    models = (("NVIDIA H100 80GB HBM3", 79.65), ("NVIDIA H200", 140.0), ("NVIDIA B200", 179.0))
    miners = tuple(
        MinerFacts(
            uid=uid,
            nodes=tuple(
                NodeFacts(
                    node_id=f"{uid}-{node}",
                    gpus=merge_groups([GpuGroup(models[(uid + node) % 3][0], 8, models[(uid + node) % 3][1])]),
                    ramp=ramp_since(now - 86_400.0 * ((uid * 7 + node) % 20), now),
                    ssh=Rate(140 + node % 4, 144),
                    last_full_ok=(uid + node) % 9 != 0,
                    compute_capability="9.0",
                    cuda="12.8",
                    checks=Rate(17, 18),
                )
                for node in range(64)
            ),
            profile_updated_at=now,
            last_success_at=now,
        )
        for uid in range(256)
    )
    shares = {"H100": CategoryRule(40.0), "H200": CategoryRule(30.0), "B200": CategoryRule(30.0)}
    emission, context = Emission(burn_percentage=10.0, gpu_allocations=shares), RoundContext(now, 300)
    figures = []
    for profile in PROFILES:
        best = min(_timed(profile, miners, emission, context) for _ in range(5))
        figures.append(Figure(f"scores and weights, 256 x 64, {profile}", best * 1000, "ms", at_most(200), "CPU"))
    return figures


def _timed(profile: str, miners: tuple[MinerFacts, ...], emission: Emission, context: RoundContext) -> float:
    wanted = next(name for name in PROFILES if name == profile)
    started = time.process_time()
    score_round(wanted, miners, emission, context)
    return time.process_time() - started
