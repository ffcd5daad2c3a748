"""The engine's own SSH room works on a stand-in node as it does on a real one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engine.clock import SystemClock
from engine.errors import SshAuthFailed
from engine.events import Event
from engine.localnet.gpu_model import GpuModel
from engine.localnet.stand_in_node import StandInNode
from engine.probes.gpu import probe_gpus
from engine.ssh.authorized_keys import Change, WantedKey, plan_change
from engine.ssh.canary import prove_expiry
from engine.ssh.capability import NodeCapability, deadlines, probe_capability
from engine.ssh.host_keys import HostKeys
from engine.ssh.keyfile import read_key_file, swap_key_file
from engine.ssh.keys import ClientKey
from engine.ssh.pool import NodePool
from engine.ssh.target import NodeTarget

VALIDATOR = "5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty"
GRANT = "0b8d3f6e-5d7b-4b0e-9f0c-6f1f1f1f1f1f"


class Bench:
    """One stand-in node, the miner's key on it, and a pool that logs in with that key."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.gpu = GpuModel.for_node("bench", 0)
        self.node = StandInNode(root / "node", gpu=self.gpu)
        self.key = ClientKey.generate("miner")
        self.events: list[Event] = []
        self.pool = self.pool_of(self.key, "miner")

    @property
    def target(self) -> NodeTarget:
        return NodeTarget("node-1", self.node.host, self.node.port, self.node.username)

    def pool_of(self, key: ClientKey, name: str) -> NodePool:
        hosts = HostKeys(self.root / f"known_hosts_{name}")
        return NodePool(key, hosts, clock=SystemClock(), emit=self.events.append)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path)
    await bench.node.start()
    bench.node.authorized_keys.write_text(f"{bench.key.public_line}\n")
    yield bench
    await bench.pool.close()
    await bench.node.stop()


async def test_the_gpu_probe_reads_the_stand_in(bench: Bench) -> None:
    """Model, count, UUIDs, driver and CUDA version are those of the node's file."""
    facts = await probe_gpus(bench.pool, bench.target)
    gpu = bench.gpu
    assert (facts.model, facts.count, facts.uuids) == (gpu.model, len(gpu.uuids), gpu.uuids)
    assert (facts.memory_mib, facts.driver, facts.cuda) == (gpu.memory_mib, gpu.driver, gpu.cuda)
    assert facts.utilisation_percent is not None
    assert facts.temperature_c is not None


async def test_the_node_passes_for_one_that_knows_utc_expiry(bench: Bench) -> None:
    """The banner promises the Z form, and the canary login proves it."""
    capability = await probe_capability(bench.pool, bench.target)
    assert capability.expiry_form == "utc"
    assert await prove_expiry(bench.pool, bench.target, capability)


async def test_a_key_that_the_engine_puts_there_opens_the_node_until_it_expires(bench: Bench) -> None:
    """A grant swapped in by the editor logs in, an expired one does not, and swapped out the file is as before."""
    guest = ClientKey.generate("guest")
    capability = await probe_capability(bench.pool, bench.target)
    before = bench.node.authorized_keys.read_bytes()
    for seconds, opens in ((600, True), (-5, False)):
        await put(bench, [await wanted(bench, guest, capability, int(time.time()) + seconds)])
        pool = bench.pool_of(guest, f"guest{seconds}")
        if opens:
            assert (await pool.run(bench.target, "echo in")).stdout == b"in\n"
        else:
            with pytest.raises(SshAuthFailed):
                await pool.run(bench.target, "echo in")
        await pool.close()
    await put(bench, [])
    assert bench.node.authorized_keys.read_bytes() == before
    assert bench.node.authorized_keys.stat().st_mode & 0o777 == 0o600


async def test_many_commands_share_a_connection(bench: Bench) -> None:
    """Forty commands at once all come back with their own answer, over few logins."""
    results = await asyncio.gather(*(bench.pool.run(bench.target, f"echo {i}") for i in range(40)))
    assert [result.stdout for result in results] == [f"{i}\n".encode() for i in range(40)]
    assert bench.node.logins < 10


async def wanted(bench: Bench, key: ClientKey, capability: NodeCapability, at: int) -> WantedKey:
    ends = await deadlines(bench.pool, bench.target, capability, [at])
    return WantedKey(GRANT, f"validator-{VALIDATOR}", key.algorithm, key.blob_base64, at, ends[at].expiry_text)


async def put(bench: Bench, keys: list[WantedKey]) -> None:
    state = await read_key_file(bench.pool, bench.target)
    change = plan_change(state.data, keys, frozenset({bench.key.blob_base64}), managed_ids=frozenset({GRANT}))
    assert isinstance(change, Change)
    await swap_key_file(bench.pool, bench.target, state, change.new)
