"""The embedded chain through the real SDK: reads, signed calls, limits, several processes, damaged files."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import bittensor as bt
import pytest
from bittensor.sp_core import Keypair, verify

from engine.chain import Axon, Chain, open_chain
from engine.chain.filechain import FileChainAdmin, extrinsics, ledger
from engine.chain.filechain.substrate import FileSubstrate
from engine.clock import ManualClock
from engine.errors import ChainRateLimited, ChainRefused, ChainUnavailable
from tests.engine.chain_wallets import Impostor, Keys, Name, Wallet, wallet

BLOCK_S = 12.0


class Subnet:
    """A chain file with one validator (uid 0) and one miner (uid 1), and time that stands still."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = ManualClock()
        self.admin = FileChainAdmin(path, now=self.clock.now)
        self.admin.create([39], BLOCK_S, serving_rate_limit=50, weights_rate_limit=100)
        self.validator, self.miner = wallet("Alice"), wallet("Bob")
        self.admin.register(39, self.validator.hotkey, self.validator.coldkey, 5000.5, True)
        self.admin.register(39, self.miner.hotkey, self.miner.coldkey)

    @asynccontextmanager
    async def chain(self, key: Wallet | None = None, netuid: int = 39) -> AsyncIterator[Chain]:
        chain = open_chain(
            network="local", netuid=netuid, chain_endpoint=f"file:{self.path}", wallet=key, clock=self.clock
        )
        try:
            yield chain
        finally:
            await chain.close()

    async def pass_blocks(self, count: int) -> None:
        await self.clock.advance(count * BLOCK_S)


@pytest.fixture
def subnet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Subnet:
    monkeypatch.setenv("BTCLI_TOKEN_SYMBOLS_CACHE", str(tmp_path / "symbols.json"))
    return Subnet(tmp_path / "chain.db")


async def test_metagraph(subnet: Subnet) -> None:
    """What the admin arranged is what the SDK reads."""
    subnet.admin.set_score(39, subnet.miner.hotkey, "incentive", 1.0)
    subnet.admin.set_emission(39, subnet.miner.hotkey, 0.25)
    async with subnet.chain() as chain:
        metagraph = await chain.metagraph()
    first, second = metagraph.neurons
    assert (metagraph.netuid, metagraph.block) == (39, 1)
    assert (first.uid, first.hotkey, first.stake_tao, first.validator_permit) == (
        0,
        subnet.validator.hotkey,
        5000.5,
        True,
    )
    assert (second.coldkey, second.axon, second.incentive, second.emission_tao) == (
        subnet.miner.coldkey,
        None,
        1.0,
        0.25,
    )
    assert not (subnet.path.parent / "symbols.json").exists()


async def test_blocks_follow_the_clock_and_never_go_back(subnet: Subnet) -> None:
    """The head is counted from the time; a wall clock set back does not undo a block that holds a call."""
    async with subnet.chain(subnet.miner) as chain:
        assert await chain.block_number() == 1
        await subnet.pass_blocks(10)
        assert await chain.block_number() == 11
        await chain.serve_axon("10.0.0.1", 1)
        subnet.clock.set_wall(0)
        assert await chain.block_number() == 11
        assert (await chain.metagraph()).block == 11


@pytest.mark.parametrize(
    ("ip", "axon"),
    [
        ("203.0.113.7", Axon("203.0.113.7", 8091)),
        ("127.0.0.1", Axon("127.0.0.1", 8091)),
        ("2001:db8::1", Axon("2001:db8:0:0:0:0:0:1", 8091)),
    ],
)
async def test_serve_axon(subnet: Subnet, ip: str, axon: Axon) -> None:
    """A served address stands in the metagraph; loopback is allowed on this chain."""
    async with subnet.chain(subnet.miner) as chain:
        await chain.serve_axon(ip, 8091)
        assert (await chain.metagraph()).neurons[1].axon == axon


async def test_serve_axon_rate_limit(subnet: Subnet) -> None:
    """Serving again is refused until the limit's last block has passed, and changes nothing."""
    async with subnet.chain(subnet.miner) as chain:
        await chain.serve_axon("10.0.0.1", 1)
        await subnet.pass_blocks(49)
        with pytest.raises(ChainRateLimited, match="1 to go") as caught:
            await chain.serve_axon("10.0.0.2", 2)
        assert caught.value.hint
        assert (await chain.metagraph()).neurons[1].axon == Axon("10.0.0.1", 1)
        await subnet.pass_blocks(1)
        await chain.serve_axon("10.0.0.2", 2)
        assert (await chain.metagraph()).neurons[1].axon == Axon("10.0.0.2", 2)
    assert [call.error for call in subnet.admin.calls()] == ["", "ServingRateLimitExceeded", ""]


@pytest.mark.parametrize(("ip", "port"), [("0.0.0.0", 1), ("255.255.255.255", 1), ("224.0.0.1", 1), ("ff02::1", 1)])
async def test_serve_axon_refuses_addresses_that_nobody_can_dial(subnet: Subnet, ip: str, port: int) -> None:
    """Unspecified, broadcast and multicast addresses are refused by the chain."""
    async with subnet.chain(subnet.miner) as chain:
        with pytest.raises(ChainRefused, match="InvalidIpAddress"):
            await chain.serve_axon(ip, port)


@pytest.mark.parametrize(("ip", "port"), [("miner.example", 1), ("", 1), ("10.0.0.1", 0), ("10.0.0.1", 70000)])
async def test_serve_axon_refuses_what_is_no_address(subnet: Subnet, ip: str, port: int) -> None:
    """Text that is no IP address, or no port, never reaches the chain."""
    async with subnet.chain(subnet.miner) as chain:
        with pytest.raises(ChainRefused):
            await chain.serve_axon(ip, port)
    assert subnet.admin.calls() == ()


async def test_unregistered_hotkey(subnet: Subnet) -> None:
    """A hotkey without a uid may neither serve nor weigh; the hint says how to register."""
    async with subnet.chain(wallet("Stranger")) as chain:
        with pytest.raises(ChainRefused, match="HotKeyNotRegistered") as caught:
            await chain.serve_axon("10.0.0.1", 1)
        assert "btcli subnets register --netuid 39" in caught.value.hint
        with pytest.raises(ChainRefused, match="not registered"):
            await chain.set_weights({1: 1.0})


async def test_weights(subnet: Subnet) -> None:
    """Weights are quantised by the SDK, stand in the file, and move last_update."""
    await subnet.pass_blocks(100)
    async with subnet.chain(subnet.validator) as chain:
        await chain.set_weights({0: 0.5, 1: 1.0})
        assert (await chain.metagraph()).neurons[0].last_update == 101
        assert subnet.admin.weights(39) == {0: {0: 32768, 1: 65535}}
        read = await chain.weights()
        assert {uid: round(share, 3) for uid, share in read[0].items()} == {0: 0.333, 1: 0.667} and len(read) == 1
        with pytest.raises(ChainRateLimited):
            await chain.set_weights({1: 1.0})
        await subnet.pass_blocks(100)
        await chain.set_weights({1: 1.0})
    assert subnet.admin.weights(39) == {0: {1: 65535}}


@pytest.mark.parametrize(
    ("weights", "why"),
    [({7: 1.0}, "UidVecContainInvalidOne"), ({0: 1.0, 1: 1.0, 2: 1.0}, "UidsLengthExceed"), ({1: 0.0}, "zero")],
)
async def test_weights_refused(subnet: Subnet, weights: dict[int, float], why: str) -> None:
    """Unknown uids and empty weights are refused and leave no weights."""
    await subnet.pass_blocks(100)
    async with subnet.chain(subnet.validator) as chain:
        with pytest.raises(ChainRefused, match=why):
            await chain.set_weights(weights)
    assert subnet.admin.weights(39) == {}


async def test_weights_need_a_permit(subnet: Subnet) -> None:
    """Without a permit only weights on oneself are accepted; a permit that is taken away counts at once."""
    await subnet.pass_blocks(100)
    async with subnet.chain(subnet.miner) as chain:
        with pytest.raises(ChainRefused, match="NeuronNoValidatorPermit"):
            await chain.set_weights({0: 1.0})
        await chain.set_weights({1: 1.0})
    subnet.admin.set_permit(39, subnet.validator.hotkey, False)
    async with subnet.chain(subnet.validator) as chain:
        with pytest.raises(ChainRefused, match="NeuronNoValidatorPermit"):
            await chain.set_weights({1: 1.0})


async def test_wrong_signer(subnet: Subnet) -> None:
    """Naming a registered hotkey is not enough: its key must have signed."""
    real = subnet.miner.sdk
    impostor = Impostor(real.hotkey, Keypair.create_from_uri("//Mallory"))
    liar = Wallet(Name(subnet.miner.hotkey), Keys(real.coldkey, impostor))
    async with subnet.chain(liar) as chain:
        with pytest.raises(ChainRefused, match="BadProof"):
            await chain.serve_axon("10.6.6.6", 666)
        assert (await chain.metagraph()).neurons[1].axon is None
    assert subnet.admin.calls() == ()


async def test_calls_leave_proof(subnet: Subnet) -> None:
    """Each call stays in the file with the payload and the signature that anybody can check."""
    async with subnet.chain(subnet.miner) as chain:
        await chain.serve_axon("10.0.0.1", 1)
    (call,) = subnet.admin.calls()
    assert (call.call, call.signer, call.error) == ("SubtensorModule.serve_axon", subnet.miner.hotkey, "")
    assert verify(call.payload, call.signature, call.signer)
    assert not verify(call.payload + b" ", call.signature, call.signer)


async def test_a_signature_is_good_once_and_here(subnet: Subnet, tmp_path: Path) -> None:
    """A recorded extrinsic cannot be replayed, neither on its chain nor on another one."""
    async with subnet.chain(subnet.miner) as chain:
        await chain.serve_axon("10.0.0.1", 1)
    (call,) = subnet.admin.calls()
    other = Subnet(tmp_path / "other.db")
    for place, name in ((subnet, "Stale"), (other, "BadProof")):
        with sqlite3.connect(place.path) as connection, pytest.raises(extrinsics.ExtrinsicRefused) as caught:
            connection.row_factory = sqlite3.Row
            extrinsics.apply(
                connection,
                ledger.read_head(connection, place.clock.now()),
                signer=call.signer,
                crypto_type=1,
                payload=call.payload,
                signature=call.signature,
            )
        connection.close()
        assert caught.value.name == name
    assert other.admin.calls() == ()


async def test_reading_needs_no_wallet_and_writing_does(subnet: Subnet) -> None:
    """Without a wallet a chain only reads."""
    async with subnet.chain() as chain:
        assert len((await chain.metagraph()).neurons) == 2
        with pytest.raises(ChainRefused, match="no wallet"):
            await chain.serve_axon("10.0.0.1", 1)


async def test_unknown_subnet(subnet: Subnet) -> None:
    """A netuid that does not exist is unavailable, never an empty metagraph."""
    async with subnet.chain(netuid=1) as chain:
        with pytest.raises(ChainUnavailable, match="subnet 1 does not exist"):
            await chain.metagraph()


async def test_one_broken_axon_costs_only_itself(subnet: Subnet) -> None:
    """An address that does not fit its type, which stops the SDK's typed read, is read around."""
    async with subnet.chain(subnet.validator) as chain:
        await chain.serve_axon("10.0.0.9", 9)
        with sqlite3.connect(subnet.path) as connection:
            mapped = str(0xFFFF_0A00_0001)
            connection.execute(
                "UPDATE neurons SET axon_ip = ?, axon_ip_type = 4, axon_port = 1 WHERE uid = 1", (mapped,)
            )
        connection.close()
        metagraph = await chain.metagraph()
    assert [neuron.axon and neuron.axon.endpoint for neuron in metagraph.neurons] == ["10.0.0.9:9", "10.0.0.1:1"]


async def test_what_is_not_implemented_says_so(subnet: Subnet) -> None:
    """Other reads and calls raise; no value is invented."""
    client = bt.Client("local", substrate=FileSubstrate(subnet.path, now=subnet.clock.now))
    async with client:
        for read in (
            client.balances.get(subnet.miner.coldkey),
            client.query(("SubtensorModule", "Tempo"), [39]),
            client.query_map(("SubtensorModule", "Keys"), [39]),
            client.runtime(("NeuronInfoRuntimeApi", "get_neurons"), [39]),
            client.constant(("Balances", "ExistentialDeposit")),
            client.execute(bt.BurnedRegister(netuid=39), subnet.miner.sdk),
            client.block_info(),
        ):
            with pytest.raises(bt.ChainError, match="does not implement"):
                await read
        with pytest.raises(bt.ChainError, match="does not implement"):
            async for _ in client.blocks():
                break
        assert (await client.subnets.metagraph(39)).commitments == {}


async def test_old_state_is_not_passed_off_as_older(subnet: Subnet) -> None:
    """A read pinned before the last change is refused; one pinned after it is exact."""
    client = bt.Client("local", substrate=FileSubstrate(subnet.path, now=subnet.clock.now))
    async with client:
        await subnet.pass_blocks(500)
        assert (await client.subnets.metagraph(39, block=1)) is not None
        subnet.admin.set_stake(39, subnet.miner.hotkey, 1)
        with pytest.raises(bt.ChainError, match="not kept"):
            await client.subnets.metagraph(39, block=1)
        with pytest.raises(bt.ChainError, match="does not exist"):
            await client.subnets.metagraph(39, block=10_000)


def test_admin(subnet: Subnet) -> None:
    """Removing leaves the uid to a key that nobody holds; the next registration takes it."""
    admin, newcomer = subnet.admin, wallet("New")
    admin.remove(39, subnet.miner.hotkey)
    with pytest.raises(ChainRefused, match="not registered"):
        admin.set_stake(39, subnet.miner.hotkey, 1)
    assert admin.register(39, newcomer.hotkey, newcomer.coldkey) == 1
    assert admin.register(39, subnet.miner.hotkey, subnet.miner.coldkey) == 2
    with pytest.raises(ChainRefused, match="already"):
        admin.register(39, newcomer.hotkey, newcomer.coldkey)
    with pytest.raises(ChainRefused, match="not an SS58"):
        admin.register(39, "nonsense", newcomer.coldkey)
    with pytest.raises(ChainRefused, match="no subnet 40"):
        admin.weights(40)
    with pytest.raises(ChainRefused, match="exists already"):
        admin.create([39])


async def test_removed_neuron_leaves_the_metagraph(subnet: Subnet) -> None:
    """After a removal the hotkey is gone and its uid has no permit, stake or axon."""
    subnet.admin.remove(39, subnet.validator.hotkey)
    async with subnet.chain() as chain:
        metagraph = await chain.metagraph()
    assert metagraph.by_hotkey(subnet.validator.hotkey) is None
    vacated = metagraph.neurons[0]
    assert (vacated.stake_tao, vacated.validator_permit, vacated.axon, vacated.active) == (0.0, False, None, False)
    assert metagraph.validators() == ()


@pytest.mark.parametrize("content", [None, b"", b"not a database at all, but long enough to be looked at" * 40])
async def test_missing_empty_or_foreign_file(tmp_path: Path, content: bytes | None) -> None:
    """A file that is no chain is unavailable with a hint, and is not touched or created."""
    path = tmp_path / "chain.db"
    if content is not None:
        path.write_bytes(content)
    chain = open_chain(network="local", netuid=39, chain_endpoint=f"file:{path}")
    with pytest.raises(ChainUnavailable) as caught:
        await chain.metagraph()
    assert caught.value.hint
    assert (path.read_bytes() if path.exists() else None) == content
    with pytest.raises(ChainUnavailable):
        FileChainAdmin(path).weights(39)


async def test_newer_file(subnet: Subnet) -> None:
    """A chain written by a newer program is refused by its format number."""
    with sqlite3.connect(subnet.path) as connection:
        connection.execute("PRAGMA user_version = 9")
    connection.close()
    async with subnet.chain() as chain:
        with pytest.raises(ChainUnavailable, match="format 9"):
            await chain.metagraph()


async def test_damaged_file_then_restored(subnet: Subnet) -> None:
    """Damage is unavailable; the same chain object works again once the file is back."""
    good = subnet.path.read_bytes()
    async with subnet.chain() as chain:
        await chain.metagraph()
        subnet.path.write_bytes(good[:4096] + b"\xff" * (len(good) - 4096))
        with pytest.raises(ChainUnavailable):
            await chain.metagraph()
        subnet.path.write_bytes(good)
        assert len((await chain.metagraph()).neurons) == 2


SERVER = """
import asyncio, sys
from engine.chain import open_chain
from engine.errors import BasilicaError
from tests.engine.chain_wallets import wallet

async def main(path, name, count):
    chain = open_chain(network="local", netuid=39, chain_endpoint=f"file:{path}", wallet=wallet(name))
    sys.stdout.write("ready\\n"); sys.stdout.flush()
    sys.stdin.readline()
    for port in range(1, count + 1):
        try:
            await chain.serve_axon("127.0.0.1", port)
        except BasilicaError as error:
            sys.stdout.write(f"{error}\\n")
    await chain.close()

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


def _start(path: Path, name: str, count: int) -> subprocess.Popen[str]:
    root = Path(__file__).resolve().parents[2]
    arguments = [sys.executable, "-c", SERVER, str(path), name, str(count)]
    return subprocess.Popen(arguments, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


async def test_several_processes_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes, one of them twice with the same hotkey, lose no call and never share a nonce."""
    monkeypatch.setenv("BTCLI_TOKEN_SYMBOLS_CACHE", str(tmp_path / "symbols.json"))
    path, count = tmp_path / "chain.db", 15
    admin = FileChainAdmin(path)
    admin.create([39], 1.0, serving_rate_limit=0)
    for name in ("Alice", "Bob"):
        admin.register(39, wallet(name).hotkey, wallet(name).coldkey)
    processes = [_start(path, name, count) for name in ("Alice", "Bob", "Bob")]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        outputs = await asyncio.gather(*(asyncio.to_thread(process.communicate, "go\n", 60) for process in processes))
    finally:
        for process in processes:
            process.kill()
            process.wait()
    lines = "".join(output for output, _ in outputs).splitlines()
    assert [line for line in lines if not line.startswith("20")] == []
    calls = admin.calls()
    assert len(calls) == 3 * count
    assert len({(call.signer, call.payload) for call in calls}) == 3 * count
    assert all(verify(call.payload, call.signature, call.signer) for call in calls)
    assert {call.error for call in calls} == {""}
