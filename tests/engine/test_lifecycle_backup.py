"""A backup of a running engine, made and restored by the command line, holds what the engine held."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.clock import SystemClock
from engine.store import open_store
from tests.engine.test_reload import engine_of, nodes_of, session_of
from tests.support.miner_subnet import MinerSubnet, create_subnet, ssh_login
from tests.support.nursery import Nursery
from tests.support.sshd import NodeSshd

pytestmark = pytest.mark.sshd
WORD = "correct horse battery"


@pytest.fixture
def subnet(tmp_path: Path, sshd_nodes: Callable[..., NodeSshd], nursery: Nursery) -> Iterator[MinerSubnet]:
    """A running miner with one node and one validator's key on it."""
    subnet = create_subnet(tmp_path, [sshd_nodes()])
    subnet.nursery = nursery
    subnet.start()
    asyncio.run(subnet.until(lambda s: engine_of(s).assigned_hotkey != ""))
    asyncio.run(subnet.discover(subnet.validators[0]))
    yield subnet
    subnet.kill()


def cli(*words: str | Path, cwd: Path | None = None, passphrase: str = WORD) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "BASILICA_BACKUP_PASSPHRASE": passphrase, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-m", "basilica_tui", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=cwd, timeout=60, check=False)


async def grants_in(database: Path) -> list[tuple[str, str, float]]:
    store = await open_store(f"sqlite:{database}", clock=SystemClock())
    try:
        return [(grant.id, grant.hotkey, grant.expires_at) for grant in await store.grants.open()]
    finally:
        await store.close()


def test_a_running_engine_is_backed_up_and_restored_elsewhere(subnet: MinerSubnet, tmp_path: Path) -> None:
    """The restored database opens and holds the grants; the restored configuration starts an engine that knows them."""
    file, new = tmp_path / "engine.backup", tmp_path / "new"
    made = cli("backup", "create", file, "--config", subnet.config_path, "--with-hotkey", "--json")
    assert made.returncode == 0, made.stderr
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    contents = [entry["name"] for entry in json.loads(made.stdout)["entries"]]
    assert contents == [
        "miner.toml",
        "data/miner.db",
        "data/miner.events.db",
        "data/known_hosts",
        "keys/node_key",
        "keys/node_key.pub",
        "wallets/miner/hotkeys/default",
    ]
    validator = subnet.validators[0]
    subnet.kill()

    restored = cli("backup", "restore", file, "--to", new, "--adapt")
    assert restored.returncode == 0, restored.stderr
    ((grant_id, hotkey, _),) = asyncio.run(grants_in(new / "data" / "miner.db"))
    assert hotkey == validator.hotkey
    assert grant_id in subnet.nodes[0].keys().decode()

    subnet.config_path = new / "miner.toml"
    subnet.start()
    snapshot = asyncio.run(subnet.until(lambda s: all(n.state == "healthy" for n in nodes_of(s))))
    assert [n.keys_in_place for n in nodes_of(snapshot)] == [1]
    assert session_of(snapshot, validator.hotkey).state == "active"
    assert ssh_login(subnet.nodes[0], validator.key_path).stdout == "in\n"


def test_the_command_line_says_what_is_wrong(subnet: MinerSubnet, tmp_path: Path) -> None:
    """A wrong passphrase, a truncated file, a short passphrase and a file in the way are one sentence each."""
    file = tmp_path / "engine.backup"
    assert cli("backup", "create", file, "--config", subnet.config_path).returncode == 0
    cut = tmp_path / "cut.backup"
    cut.write_bytes(file.read_bytes()[:-10])
    cases = {
        "does not open this backup": cli("backup", "verify", file, passphrase="another one"),
        "cut off": cli("backup", "restore", cut, "--to", tmp_path / "new"),
        "shorter than 8": cli("backup", "create", tmp_path / "b", "--config", subnet.config_path, passphrase="short"),
        "exists": cli("backup", "create", file, "--config", subnet.config_path),
    }
    for words, run in cases.items():
        assert run.returncode == 1, words
        assert words in run.stderr
        assert "Traceback" not in run.stderr
    assert not (tmp_path / "new").exists()


def test_the_running_configuration_can_be_compared(subnet: MinerSubnet, tmp_path: Path) -> None:
    """The command line says what a reload would apply and what needs a restart."""
    same = cli("config", "diff", "--running", "--config", subnet.config_path)
    assert same.returncode == 0, same.stderr
    assert "no difference" in same.stdout
    other = tmp_path / "other.toml"
    text = subnet.config_path.read_text()
    other.write_text(text.replace("node_deadline = 8", "node_deadline = 9").replace("netuid = 39", "netuid = 40"))
    differs = cli("config", "diff", other, "--running", "--socket", subnet.socket)
    assert "a reload applies: access.node_deadline: 8 -> 9" in differs.stdout
    assert "a restart is needed for: bittensor.netuid: 39 -> 40" in differs.stdout
    between = json.loads(cli("config", "diff", other, "--config", subnet.config_path, "--json").stdout)
    assert {change["key"]: change["needs_restart"] for change in between["changes"]} == {
        "access.node_deadline": False,
        "bittensor.netuid": True,
    }
