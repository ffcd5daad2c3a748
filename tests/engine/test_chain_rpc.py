"""The RPC path against the development node: real JSON-RPC, real metadata, real errors."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from engine.chain import Axon, Chain, ChainTimeouts, open_chain
from engine.errors import ChainRateLimited, ChainRefused, ChainUnavailable
from tests.engine.chain_wallets import Wallet, wallet

DEVCHAIN = Path(__file__).resolve().parents[2].parent / "shared" / "devchain"
TIMEOUTS = ChainTimeouts(connect_s=15.0, read_s=15.0, write_s=30.0, close_s=2.0)


@dataclass
class Node:
    """A running development node."""

    url: str

    async def call(self, method: str, **params: object) -> object:
        async with connect(self.url, max_size=None) as connection:
            return await _call(connection, method, **params)

    def chain(self, key: Wallet | None = None, timeouts: ChainTimeouts = TIMEOUTS, **options: object) -> Chain:
        endpoint = str(options.pop("endpoint", self.url))
        return open_chain(
            network="local",
            netuid=39,
            chain_endpoint=endpoint,
            wallet=key,
            timeouts=timeouts,
            **options,  # type: ignore[arg-type]
        )


async def _call(connection: ClientConnection, method: str, **params: object) -> object:
    await connection.send(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}))
    answer = json.loads(await connection.recv())
    assert "error" not in answer, answer
    return answer["result"]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    if not (DEVCHAIN / "devnode.py").is_file():
        pytest.skip(f"the development node is not here ({DEVCHAIN})")
    home = tmp_path_factory.mktemp("devchain")
    environment = {**os.environ, "HOME": str(home), "BITTENSOR_RUNTIME_CACHE_DIR": str(home / "runtime")}
    arguments = [sys.executable, "-B", str(DEVCHAIN / "devnode.py"), "--port", "0", "--block-time", "0.25"]
    arguments += ["--hyperparam", "commit_reveal_weights_enabled=false"]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env=environment, cwd=home)
    try:
        assert process.stdout is not None
        yield Node(json.loads(process.stdout.readline())["ready"])
    finally:
        process.terminate()
        process.wait(60)
        assert process.stdout is not None
        process.stdout.close()


@pytest.fixture(autouse=True)
async def _fresh(node: Node, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test has its own client caches and no faults left over."""
    caches = tmp_path_factory.getbasetemp() / "bittensor-caches"
    monkeypatch.setenv("BITTENSOR_RUNTIME_CACHE_DIR", str(caches / "runtime"))
    monkeypatch.setenv("BTCLI_TOKEN_SYMBOLS_CACHE", str(caches / "symbols.json"))
    await node.call("dev_clearFaults")


async def _register(node: Node, name: str, **options: object) -> Wallet:
    key = wallet(name)
    await node.call("dev_addNeuron", netuid=39, hotkey=key.hotkey, coldkey=key.coldkey, **options)
    return key


async def test_metagraph_and_block(node: Node) -> None:
    """Stake, permit and axon come through the real runtime API."""
    validator = await _register(node, "MetaValidator", stake_tao=5000, validator_permit=True)
    miner = await _register(node, "MetaMiner", axon={"ip": "203.0.113.7", "port": 8091})
    chain = node.chain()
    metagraph = await chain.metagraph()
    found = metagraph.by_hotkey(validator.hotkey)
    assert found is not None
    assert (found.validator_permit, found.coldkey) == (True, validator.coldkey)
    assert found.stake_tao == pytest.approx(5000)
    served = metagraph.by_hotkey(miner.hotkey)
    assert served is not None
    assert served.axon is not None
    assert served.axon.endpoint == "203.0.113.7:8091"
    assert await chain.block_number() >= metagraph.block > 0
    await chain.close()


async def test_serve_axon_and_its_rate_limit(node: Node) -> None:
    """A served axon is in the metagraph when the call returns; serving again at once is rate limited."""
    chain = node.chain(await _register(node, "Server"))
    await chain.serve_axon("198.51.100.4", 8091)
    neuron = (await chain.metagraph()).by_hotkey(wallet("Server").hotkey)
    assert neuron is not None
    assert neuron.axon == Axon("198.51.100.4", 8091)
    with pytest.raises(ChainRateLimited, match="ServingRateLimitExceeded") as caught:
        await chain.serve_axon("198.51.100.5", 8091)
    assert caught.value.hint
    await chain.close()


async def test_refusals(node: Node) -> None:
    """Unregistered hotkeys, loopback addresses and weights without stake are refused by name."""
    chain = node.chain(wallet("Unregistered"))
    with pytest.raises(ChainRefused, match="HotKeyNotRegistered") as caught:
        await chain.serve_axon("198.51.100.4", 8091)
    assert "btcli subnets register --netuid 39" in caught.value.hint
    with pytest.raises(ChainRefused, match="not registered"):
        await chain.set_weights({0: 1.0})
    await chain.close()
    chain = node.chain(await _register(node, "Poor"))
    with pytest.raises(ChainRefused, match="InvalidIpAddress"):
        await chain.serve_axon("127.0.0.1", 8091)
    await node.call("dev_setHyperparam", netuid=39, name="weights_rate_limit", value=0)
    with pytest.raises(ChainRefused, match="Stake") as refused:
        await chain.set_weights({0: 1.0})
    assert not isinstance(refused.value, ChainRateLimited)
    await chain.close()


async def test_set_weights(node: Node) -> None:
    """A permitted validator's weights reach the chain as the SDK quantised them."""
    key = await _register(node, "Weigher", stake_tao=5000, validator_permit=True)
    await node.call("dev_setHyperparam", netuid=39, name="weights_rate_limit", value=0)
    chain = node.chain(key)
    metagraph = await chain.metagraph()
    neuron = metagraph.by_hotkey(key.hotkey)
    assert neuron is not None
    await chain.set_weights({0: 0.5, neuron.uid: 1.0})
    after = (await chain.metagraph()).by_hotkey(key.hotkey)
    assert after is not None
    assert after.last_update >= metagraph.block
    shares = (await chain.weights())[neuron.uid]
    assert shares[0] == pytest.approx(1 / 3, abs=1e-4)
    assert shares[neuron.uid] == pytest.approx(2 / 3, abs=1e-4)
    await chain.close()


async def test_weights_are_committed_where_the_subnet_asks_for_it(node: Node) -> None:
    """With commit-reveal on, the same call seals the vector; none is to be read, and the chain says when it came."""
    key = await _register(node, "Sealer", stake_tao=5000, validator_permit=True)
    await node.call("dev_setHyperparam", netuid=39, name="weights_rate_limit", value=0)
    await node.call("dev_setHyperparam", netuid=39, name="commit_reveal_weights_enabled", value=True)
    chain = node.chain(key)
    try:
        metagraph = await chain.metagraph()
        neuron = metagraph.by_hotkey(key.hotkey)
        assert neuron is not None
        await chain.set_weights({0: 0.5, neuron.uid: 1.0}, 7)
        found: Any = await node.call("dev_state", netuid=39)
        subnet = found["subnets"]["39"]
        assert [one["hotkey"] for one in subnet["timelocked_commits"]] == [key.hotkey]
        assert str(neuron.uid) not in subnet["weights"]
        after = (await chain.metagraph()).by_hotkey(key.hotkey)
        assert after is not None
        assert after.last_update >= metagraph.block
    finally:
        await node.call("dev_setHyperparam", netuid=39, name="commit_reveal_weights_enabled", value=False)
        await chain.close()


async def test_dropped_connections_recover(node: Node) -> None:
    """A connection that is cut, while idle or under a read, costs no more than a repeated read."""
    chain = node.chain()
    await chain.metagraph()
    await node.call("dev_fail", mode="drop", count=1, methods=["state_call"])
    assert (await chain.metagraph()).netuid == 39
    await node.call("dev_fail", mode="drop", count=1, methods=["chain_getHeader"])
    assert await chain.block_number() > 0
    await chain.close()


async def test_hang_is_unavailable_then_recovers(node: Node) -> None:
    """A node that accepts and stays silent is unavailable within the timeout; the next call works again."""
    chain = node.chain(timeouts=ChainTimeouts(connect_s=10, read_s=0.5, write_s=5, close_s=1))
    await chain.metagraph()
    await node.call("dev_fail", mode="hang", count=-1, methods=["state_call"])
    with pytest.raises(ChainUnavailable, match="did not answer within") as caught:
        await chain.metagraph()
    assert caught.value.hint
    await node.call("dev_clearFaults")
    assert (await chain.metagraph()).netuid == 39
    await chain.close()


async def test_error_answer_is_unavailable(node: Node) -> None:
    """A read that the node answers with an error leaves nothing known."""
    chain = node.chain()
    await node.call("dev_fail", mode="error", count=5, methods=["state_call"], code=-32000, message="overloaded")
    with pytest.raises(ChainUnavailable, match="overloaded"):
        await chain.metagraph()
    await node.call("dev_clearFaults")
    assert (await chain.metagraph()).netuid == 39
    await chain.close()


async def test_drop_under_a_submission_has_an_open_outcome(node: Node) -> None:
    """A call whose connection died may have happened: unavailable, not refused."""
    chain = node.chain(await _register(node, "Dropped"))
    await chain.metagraph()
    await node.call("dev_fail", mode="drop", count=1, methods=["author_*"])
    with pytest.raises(ChainUnavailable) as caught:
        await chain.serve_axon("198.51.100.9", 8091)
    assert "may have taken effect" in caught.value.hint
    await chain.close()


async def test_policy_refusal_is_unavailable(node: Node) -> None:
    """An endpoint that turns this host away is unavailable, with the advice to use another."""
    chain = node.chain()
    async with connect(node.url) as admin:
        await _call(admin, "dev_refuse", seconds=60, status=429)
        try:
            with pytest.raises(ChainUnavailable, match="refuses this host") as caught:
                await chain.metagraph()
        finally:
            await _call(admin, "dev_refuse", seconds=0, status=429)
    assert "fallback_endpoints" in caught.value.hint
    assert (await chain.metagraph()).netuid == 39
    await chain.close()


async def test_a_cancelled_read_leaves_nothing_running(node: Node) -> None:
    """Cancelling a caller under a silent read is passed on, and closing leaves no task behind."""
    before = asyncio.all_tasks()
    chain = node.chain()
    await chain.metagraph()
    await node.call("dev_fail", mode="hang", count=-1, methods=["state_call"])
    reads = [asyncio.create_task(chain.metagraph()) for _ in range(3)]
    await chain.block_number()
    for read in reads:
        read.cancel()
    results = await asyncio.gather(*reads, return_exceptions=True)
    assert [type(result) for result in results] == [asyncio.CancelledError] * 3
    await chain.close()
    assert asyncio.all_tasks() == before


async def test_callers_share_a_failed_connection_attempt(node: Node) -> None:
    """While an endpoint stays silent, callers wait for one attempt and not for one after the other."""
    callers: list[asyncio.StreamWriter] = []

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        callers.append(writer)

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    dead = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    chain = node.chain(endpoint=dead, timeouts=ChainTimeouts(connect_s=0.5, close_s=1))
    results = await asyncio.gather(*(chain.block_number() for _ in range(5)), return_exceptions=True)
    assert {type(result) for result in results} == {ChainUnavailable}
    assert len(callers) == 1
    waiting = asyncio.create_task(chain.block_number())
    while len(callers) < 2:
        await asyncio.sleep(0.01)
    await chain.close()
    with pytest.raises(ChainUnavailable):
        await waiting
    for caller in callers:
        caller.close()
        await caller.wait_closed()
    server.close()
    await server.wait_closed()


async def test_closing_after_failed_concurrent_reads_ends(node: Node) -> None:
    """Reads that fail together, then a close: the SDK's hang on Python 3.11 does not reach the caller."""
    for _ in range(5):
        chain = node.chain(timeouts=ChainTimeouts(close_s=1))
        await chain.block_number()
        await node.call("dev_fail", mode="error", count=4, methods=["state_call"])
        results = await asyncio.gather(*(chain.metagraph() for _ in range(4)), return_exceptions=True)
        assert {type(result) for result in results} == {ChainUnavailable}
        await chain.close()


async def test_nobody_there(node: Node) -> None:
    """An endpoint where nothing listens is unavailable; a fallback endpoint takes over."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        dead = f"ws://127.0.0.1:{reserved.getsockname()[1]}"
        chain = node.chain(endpoint=dead, timeouts=ChainTimeouts(connect_s=1, close_s=1))
        with pytest.raises(ChainUnavailable) as caught:
            await chain.metagraph()
        assert caught.value.hint
        await chain.close()
        chain = node.chain(endpoint=dead, fallback_endpoints=[node.url])
        assert (await chain.metagraph()).netuid == 39
        await chain.close()


async def test_concurrent_calls_share_one_connection(node: Node) -> None:
    """Calls made at once before the first connection all get their answer."""
    chain = node.chain()
    results = await asyncio.gather(*(chain.metagraph() for _ in range(5)), *(chain.block_number() for _ in range(5)))
    assert len(results) == 10
    await chain.close()
    assert (await chain.metagraph()).netuid == 39
    await chain.close()
