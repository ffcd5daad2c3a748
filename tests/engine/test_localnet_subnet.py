"""A subnet sets everything up, runs its engines as child processes, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import asyncssh
import pytest

from engine.chain import open_chain
from engine.config import load_miner_config, load_validator_config
from engine.errors import EngineAlreadyRunning, LocalnetFailed
from engine.identity.node_ids import node_id_for
from engine.localnet.layout import EngineFiles, Layout
from engine.localnet.ports import PortBook
from engine.localnet.subnet import Assignment, Subnet

IDLE = "import pathlib, sys, time; pathlib.Path(sys.argv[1] + '.up').touch(); time.sleep(600)"
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + IDLE
FAILING = "import sys; sys.exit('wallet is gone')"


def program(code: str) -> object:
    def command(config: Path) -> Sequence[str]:
        return (sys.executable, "-c", code, str(config))

    return command


async def is_up(files: EngineFiles) -> bool:
    return files.config.with_name(files.config.name + ".up").exists()


def subnet(
    directory: Path,
    code: str = IDLE,
    *,
    nodes: int = 2,
    validators: int = 2,
    external_validators: int = 0,
    assignment: Assignment = "highest_stake",
    patience_s: float = 10.0,
) -> Subnet:
    for mark in directory.glob("*.up"):
        mark.unlink()
    return Subnet(
        directory,
        nodes=nodes,
        validators=validators,
        external_validators=external_validators,
        assignment=assignment,
        command=program(code),  # type: ignore[arg-type]
        probe=is_up,
        patience_s=patience_s,
    )


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_the_document_names_everything(tmp_path: Path) -> None:
    """localnet.json holds the promised keys, validators by falling stake, and nothing that is not there."""
    async with subnet(tmp_path / "net", nodes=3, validators=2, external_validators=1) as net:
        document = json.loads((tmp_path / "net" / "localnet.json").read_text())
        assert document == net.document
    assert set(document) == {"chain", "miner", "validators", "nodes"}
    wallet = {"hotkey", "wallet_path", "wallet_name", "hotkey_name"}
    assert set(document["miner"]) == wallet | {"grpc", "config", "socket", "health", "metrics"}
    assert [set(item) - wallet for item in document["validators"]] == [
        {"config", "socket", "rest"},
        {"config", "socket", "rest"},
        set(),
    ]
    assert [item["wallet_name"] for item in document["validators"]] == ["validator-1", "validator-2", "external-1"]
    assert all(
        set(item) == {"node_id", "host", "port", "username", "home", "authorized_keys"} for item in document["nodes"]
    )
    assert [item["node_id"] for item in document["nodes"]] == [
        node_id_for(item["username"], item["host"], item["port"]) for item in document["nodes"]
    ]


async def test_the_chain_knows_the_members(tmp_path: Path) -> None:
    """Everybody is registered, validators with permit and falling stake in the order of the document."""
    async with subnet(tmp_path, validators=1, external_validators=2) as net:
        chain = open_chain(network="local", netuid=39, chain_endpoint=str(net.document["chain"]))
        metagraph = await chain.metagraph()
        await chain.close()
        validators = net.document["validators"]
        miner = net.document["miner"]
    assert isinstance(validators, list)
    assert isinstance(miner, dict)
    assert [neuron.hotkey for neuron in metagraph.validators()] == [item["hotkey"] for item in validators]
    found = metagraph.by_hotkey(miner["hotkey"])
    assert found is not None
    assert not found.validator_permit


@pytest.mark.parametrize("assignment", ["highest_stake", "fixed_assignment", "open"])
async def test_the_written_configurations_are_sound(tmp_path: Path, assignment: Assignment) -> None:
    """Both files pass every check of the engines; only the brisk pace and open access are remarked on."""
    async with subnet(tmp_path, assignment=assignment) as net:
        miner = load_miner_config(net.layout.config("miner"), env={})
        validator = load_validator_config(net.layout.config("validator-2"), env={})
        validators = net.document["validators"]
    expected = ("health_check_interval", "validator_assignment.enabled")
    assert [text for text in (*miner.warnings, *validator.warnings) if not any(word in text for word in expected)] == []
    assert isinstance(validators, list)
    section = miner.config.validator_assignment
    assert section.enabled is (assignment != "open")
    assert section.validator_hotkey == (validators[0]["hotkey"] if assignment == "fixed_assignment" else None)
    assert miner.config.access.revoke_on_exit
    assert [node.port for node in miner.config.node_management.nodes] == [node.port for node in net.nodes]


async def test_the_keys_of_miner_and_operator_open_the_nodes(tmp_path: Path) -> None:
    """Both private keys are 0600 and log in; nothing else is in the key files."""
    async with subnet(tmp_path, nodes=1) as net:
        for path in (net.layout.miner_key, net.layout.operator_key):
            assert path.stat().st_mode & 0o777 == 0o600
            async with asyncssh.connect(
                "127.0.0.1", net.nodes[0].port, username="basilica", client_keys=[str(path)], known_hosts=None,
                config=None, agent_path=None,
            ) as connection:  # fmt: skip
                assert (await connection.run("nvidia-smi -L")).exit_status == 0
        assert len(net.nodes[0].authorized_keys.read_text().splitlines()) == 2


async def test_a_second_run_keeps_identities_and_addresses(tmp_path: Path) -> None:
    """Wallets, node ids and ports are those of the first run, and key files gain no second copy."""
    async with subnet(tmp_path) as first:
        pass
    async with subnet(tmp_path) as second:
        keys = second.nodes[0].authorized_keys.read_text()
    assert second.document == first.document
    assert len(keys.splitlines()) == 2


async def test_a_smaller_second_run_takes_the_permits_back(tmp_path: Path) -> None:
    """Validators that no longer take part hold no permit."""
    async with subnet(tmp_path, validators=2):
        pass
    async with subnet(tmp_path, validators=0, external_validators=1) as net:
        chain = open_chain(network="local", netuid=39, chain_endpoint=str(net.document["chain"]))
        metagraph = await chain.metagraph()
        await chain.close()
    assert len(metagraph.validators()) == 1


async def test_one_directory_has_one_subnet(tmp_path: Path) -> None:
    """A second start in a directory in use is refused and disturbs nothing."""
    async with subnet(tmp_path) as net:
        with pytest.raises(EngineAlreadyRunning):
            await subnet(tmp_path).start()
        assert all(engine.pid is not None and is_alive(engine.pid) for engine in net.engines)


@pytest.mark.parametrize("code", [IDLE, STUBBORN])
async def test_stop_ends_every_engine(tmp_path: Path, code: str) -> None:
    """Engines are gone after stop, also one that does not listen to SIGTERM."""
    net = subnet(tmp_path, code, validators=1, patience_s=0.5)
    await net.start()
    pids = [engine.pid for engine in net.engines]
    await net.stop()
    assert len(pids) == 2
    assert not any(pid is not None and is_alive(pid) for pid in pids)


async def test_an_engine_that_fails_is_named_with_its_last_words(tmp_path: Path) -> None:
    """A start that cannot succeed raises at once, quotes the log, and writes no document."""
    with pytest.raises(LocalnetFailed, match="wallet is gone") as caught:
        await subnet(tmp_path, FAILING).start()
    assert "logs" in caught.value.hint
    assert not (tmp_path / "localnet.json").exists()


async def test_an_engine_that_goes_away_is_noticed(tmp_path: Path) -> None:
    """first_end names the engine that ended by itself."""
    async with subnet(tmp_path, validators=1) as net:
        pid = net.engines[1].pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        assert "validator-1" in await asyncio.wait_for(net.first_end(), 60)


async def test_engines_of_a_killed_run_are_ended_by_the_next(tmp_path: Path) -> None:
    """An engine whose localnet was killed does not block the directory."""
    killed = subnet(tmp_path, validators=0)
    await killed.start()
    orphan = killed.engines.pop()
    await killed.stop()
    assert orphan.pid is not None
    assert is_alive(orphan.pid)
    async with subnet(tmp_path, validators=0) as net:
        await asyncio.wait_for(orphan.wait_ended(), 60)
        assert len(net.engines) == 1
    assert not is_alive(orphan.pid)


def test_socket_paths_stay_short_in_a_long_directory(tmp_path: Path) -> None:
    """Sockets move to a private directory where the kernel's limit is near, and that is removed afterwards."""
    near, far = Layout(tmp_path / "n"), Layout(tmp_path / ("x" * 90))
    assert near.socket("miner").parent.parent == near.directory / "run"
    socket = far.socket("validator-12")
    assert len(bytes(socket)) <= 100
    assert socket.parent.stat().st_mode & 0o777 == 0o700
    assert socket.parent.parent.stat().st_mode & 0o777 == 0o700
    far.remove_short()
    assert not socket.parent.parent.exists()


def test_a_taken_port_is_replaced_unless_it_is_fixed(tmp_path: Path) -> None:
    """A node keeps its port or fails, because its id hangs on it; others move on."""
    import socket

    first = PortBook(tmp_path / "ports.json")
    loose, fixed = first.port("rest"), first.port("node-1", fixed=True)
    first.save()
    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", loose))
        two.bind(("127.0.0.1", fixed))
        one.listen()
        two.listen()
        second = PortBook(tmp_path / "ports.json")
        assert second.port("rest") not in {loose, fixed}
        with pytest.raises(LocalnetFailed):
            second.port("node-1", fixed=True)
