"""The miner's key onto nodes with a real sshd: through the operator's key, once, with the modes that sshd wants."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.clock import SystemClock
from engine.setup.key_deployment import KeyDeployment, WayIn, usual_way_in
from engine.ssh.host_keys import HostKeys
from engine.ssh.keys import ClientKey
from engine.ssh.target import NodeTarget
from tests.support.miner_subnet import operator_line
from tests.support.ports import free_port
from tests.support.sshd import NodeSshd

pytestmark = pytest.mark.sshd
Nodes = Callable[..., NodeSshd]


def run(*words: str, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "basilica_tui", *words],
        capture_output=True, text=True, timeout=100, check=False, stdin=subprocess.DEVNULL,
        env={"HOME": str(home), "PATH": "/usr/bin:/bin"}, cwd=Path(__file__).parents[2],
    )  # fmt: skip


def started(*words: str, home: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-u", "-m", "basilica_tui", *words],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={"HOME": str(home), "PATH": "/usr/bin:/bin"}, cwd=Path(__file__).parents[2],
    )  # fmt: skip


def test_one_line_is_added_and_everything_else_stays(sshd_nodes: Nodes, tmp_path: Path) -> None:
    """The operator's lines keep their bytes, a missing line break included; a second run adds nothing."""
    node, mine, theirs = sshd_nodes(), ClientKey.generate("miner"), ClientKey.generate("op")
    before = operator_line() + theirs.public_line  # no line break at the end
    node.authorize(before)
    deployment = KeyDeployment(mine, HostKeys(tmp_path / "known_hosts"), clock=SystemClock())

    (first,) = asyncio.run(deployment.run([node.target], WayIn((theirs,))))
    assert (first.ending, node.keys().decode()) == ("deployed", f"{before}\n{mine.public_line}\n")
    assert node.authorized_keys.stat().st_mode & 0o777 == 0o600

    (again,) = asyncio.run(deployment.run([node.target], WayIn((theirs,))))
    assert again.ending == "already"
    assert node.keys().decode().count(mine.public_line) == 1


def test_the_password_is_asked_for_once_and_a_dead_node_costs_only_itself(sshd_nodes: Nodes, tmp_path: Path) -> None:
    """Two closed nodes, one question; the node that is down says so; the open one is done."""
    mine, theirs = ClientKey.generate("miner"), ClientKey.generate("op")
    first, second, opened = sshd_nodes(), sshd_nodes(), sshd_nodes()
    opened.authorize(theirs.public_line + "\n")
    dead = NodeTarget("dead", "127.0.0.1", free_port(), first.username)
    asked: list[str] = []

    def ask() -> str:
        asked.append("?")
        return "wrong"

    deployment = KeyDeployment(mine, HostKeys(tmp_path / "known_hosts"), clock=SystemClock())
    targets = [first.target, second.target, opened.target, dead]
    done = asyncio.run(deployment.run(targets, WayIn((theirs,)), ask=ask))
    assert [one.ending for one in done] == ["failed", "failed", "deployed", "failed"]
    assert len(asked) == 1
    assert all(one.hint for one in done if one.ending == "failed")

    silent = asyncio.run(deployment.run([first.target], WayIn((theirs,))))
    assert [one.ending for one in silent] == ["needs_password"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_says_which_nodes_are_done(sshd_nodes: Nodes, tmp_path: Path, number: signal.Signals) -> None:
    """One node is done, one does not answer: both are named, the status is the signal's, and it may be repeated."""
    node, theirs = sshd_nodes(), ClientKey.generate("op")
    node.authorize(theirs.public_line + "\n")
    theirs.save(tmp_path / ".ssh/id_ed25519")
    key = tmp_path / "miner_node_key"
    ClientKey.generate("miner").save(key)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        names = [f"{node.username}@127.0.0.1:{port}" for port in (node.port, silent.getsockname()[1])]
        with started("keys", "deploy", *names, "--key", str(key), home=tmp_path) as process:
            assert process.stdout is not None
            assert process.stdout.readline().startswith(names[0])
            process.send_signal(number)
            _, told = process.communicate(timeout=60)
        assert process.returncode == 128 + number
        assert "1 node done, 1 not finished" in told, told
        assert f"  done: {names[0]}\n  not finished: {names[1]}\n" in told
        assert "the same command again" in told
        assert "Traceback" not in told
        silent.accept()[0].close()
        with started("keys", "deploy", names[1], "--key", str(key), "--json", home=tmp_path) as process:
            peer, _ = silent.accept()  # it waits for a banner now
            process.send_signal(number)
            said, _ = process.communicate(timeout=60)
            peer.close()
        assert process.returncode == 128 + number
        assert [one["ending"] for one in json.loads(said)["nodes"]] == ["not_finished"]
    assert node.keys().decode().count("miner") == 1


def test_the_commands(sshd_nodes: Nodes, tmp_path: Path) -> None:
    """generate never replaces a key; deploy takes the operator's key and proves the login; status 1 for the rest."""
    node, theirs = sshd_nodes(), ClientKey.generate("op")
    node.authorize(theirs.public_line + "\n")
    theirs.save(tmp_path / ".ssh/id_ed25519")
    key = tmp_path / "k" / "miner_node_key"

    made = run("keys", "generate", "--path", str(key), "--json", home=tmp_path)
    assert made.returncode == 0, made.stderr
    assert key.stat().st_mode & 0o777 == 0o600
    assert json.loads(made.stdout)["fingerprint"] == ClientKey.from_file(key).fingerprint
    text = key.read_bytes()
    refused = run("keys", "generate", "--path", str(key), home=tmp_path)
    assert refused.returncode == 1
    assert "rotate" in refused.stderr
    assert key.read_bytes() == text

    address = f"{node.username}@127.0.0.1:{node.port}"
    done = run("keys", "deploy", address, "--key", str(key), home=tmp_path)
    assert (done.returncode, done.stdout.count("deployed")) == (0, 1), done.stdout + done.stderr
    closed = run(
        "keys", "deploy", address, f"{node.username}@127.0.0.1:{free_port()}", "--key", str(key), "--json",
        home=tmp_path,
    )  # fmt: skip
    assert closed.returncode == 1
    assert [one["ending"] for one in json.loads(closed.stdout)["nodes"]] == ["already", "failed"]
    assert usual_way_in(tmp_path).keys[0].fingerprint == theirs.fingerprint
