"""Grants in a key file that only root can write, on real sshd nodes with a configuration of their own."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from engine.errors import ControlRefused, EngineUnreachable
from tests.support.miner_subnet import MinerSubnet, ssh_login
from tests.support.sshd import NodeSshd
from tests.support.subnets import Subnets

pytestmark = [
    pytest.mark.sshd,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root for an /etc/ssh of the node's own"),
]
Nodes = Callable[..., NodeSshd]


@pytest.fixture
def subnets(subnets: Subnets) -> Subnets:
    """Makes subnets whose miner's key opens root as well, and starts them."""

    def make(nodes: list[NodeSshd], **settings: object) -> MinerSubnet:
        subnet = subnets(nodes, **settings)
        for node in nodes:
            node.root_keys.write_text((subnet.root / "node_key.pub").read_text())
            node.root_keys.chmod(0o600)
        subnet.start()
        subnet.settle()
        return subnet

    return make


def act(subnet: MinerSubnet, verb: str, **args: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", asyncio.run(subnet.act(verb, **args)))


def node_id(subnet: MinerSubnet, number: int = 0) -> str:
    views: Any = asyncio.run(subnet.snapshot()).views["nodes"]
    return next(str(n.id) for n in views.values() if n.port == subnet.nodes[number].port)


def view(snapshot: Any) -> Any:
    """The only node."""
    return next(iter(snapshot.views["nodes"].values()))


def root_file(node: NodeSshd) -> Path:
    return node.etc_ssh / "basilica_keys" / node.username


def grants_in(data: bytes) -> int:
    return data.replace(b"renter-canary", b"").count(b" grant=")


def grants(node: NodeSshd) -> tuple[int, int]:
    """How many lines of grants are in the account's file and in root's."""
    path = root_file(node)
    return grants_in(node.keys()), grants_in(path.read_bytes()) if path.exists() else 0


def move(subnet: MinerSubnet, place: str, **args: object) -> Mapping[str, Any]:
    verb = "node.protect" if place == "root" else "node.unprotect"
    return act(subnet, verb, node_id=node_id(subnet), **args)


def test_grants_move_to_roots_file_live_there_and_move_back(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """The plan changes nothing; a move keeps access open, no guest can write there, and undoing leaves no trace."""
    node = sshd_nodes(has_own_etc=True)
    subnet = subnets([node])
    validator, before = subnet.validators[0], node.keys()
    asyncio.run(subnet.discover(validator, "B"))
    assert grants(node) == (1, 0)
    plan = move(subnet, "root", plan=True)
    assert plan["stage"] == "user" and len(plan["steps"]) == 5
    assert not root_file(node).exists() and not list((node.etc_ssh / "sshd_config.d").iterdir())
    move(subnet, "root")
    assert grants(node) == (0, 1) and node.keys() == before
    stat = root_file(node).stat()
    assert (stat.st_uid, stat.st_mode & 0o777) == (0, 0o644)
    assert ssh_login(node, validator.key_path).stdout == "in\n"
    forbidden = ssh_login(node, validator.key_path, "echo x >>/etc/ssh/basilica_keys/basilica; echo $?")
    assert forbidden.stdout.strip() != "0" and grants(node) == (0, 1)
    asyncio.run(subnet.until(lambda s: "basilica_keys/" in view(s).capability_json))
    kinds = {(line["file"], line["kind"]) for line in act(subnet, "node.inventory", node_id=node_id(subnet))["lines"]}
    assert ("basilica_keys", "grant") in kinds and ("authorized_keys", "grant") not in kinds
    asyncio.run(subnet.discover(validator, "B"))
    assert grants(node) == (0, 1)
    move(subnet, "user")
    assert grants(node) == (1, 0) and ssh_login(node, validator.key_path).stdout == "in\n"
    assert not root_file(node).parent.exists() and not list((node.etc_ssh / "sshd_config.d").iterdir())
    act(subnet, "session.end", hotkey=validator.hotkey)
    assert node.keys() == before


def test_revocation_expiry_and_sessions_end_in_roots_file_too(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """A revoked key is gone from root's file, its running command with it, and the audit log has the move."""
    node = sshd_nodes(has_own_etc=True)
    subnet = subnets([node])
    validator = subnet.validators[0]
    move(subnet, "root")
    asyncio.run(subnet.discover(validator, "B"))
    held = subprocess.Popen(
        ["ssh", "-F", "none", "-i", str(validator.key_path), "-p", str(node.port), "-o", "StrictHostKeyChecking=no",
         "-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes", f"{node.username}@{node.host}",
         "echo on; exec sleep 600"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={"PATH": os.environ["PATH"]},
    )  # fmt: skip
    assert held.stdout is not None and held.stdout.readline() == b"on\n"
    act(subnet, "grant.revoke", node_id=node_id(subnet), hotkey=validator.hotkey)
    assert grants(node) == (0, 0) and held.wait(60) != 0
    held.stdout.close()
    assert ssh_login(node, validator.key_path).returncode != 0


def test_a_guest_who_spoils_its_own_file_keeps_no_key(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """With ``authorized_keys`` unreadable for the engine, keys are still taken out of root's file."""
    node = sshd_nodes(has_own_etc=True)
    subnet = subnets([node])
    validator = subnet.validators[0]
    move(subnet, "root")
    asyncio.run(subnet.discover(validator, "B"))
    assert grants(node) == (0, 1)
    spoiled = node.authorized_keys.with_name("kept")
    node.authorized_keys.rename(spoiled)
    node.authorized_keys.mkdir()
    with pytest.raises(ControlRefused):
        act(subnet, "grant.revoke", node_id=node_id(subnet), hotkey=validator.hotkey)
    assert grants_in(root_file(node).read_bytes()) == 0
    node.authorized_keys.rmdir()
    spoiled.rename(node.authorized_keys)


def test_what_cannot_be_set_up_is_refused_and_leaves_nothing(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """No root, no Include, a broken configuration, another line that decides: each has its reason, nothing changed."""
    node = sshd_nodes(has_own_etc=True)
    subnet = subnets([node])
    config, directory = node.etc_ssh / "sshd_config", node.etc_ssh / "sshd_config.d"
    sound = config.read_text()

    def refused(login: str = "root") -> str:
        with pytest.raises(ControlRefused) as refusal:
            move(subnet, "root", login=login)
        assert grants(node) == (0, 0) and not root_file(node).exists()
        return refusal.value.message

    assert "neither root" in refused(login=node.username)
    config.write_text(sound.replace("Include", "#Include"))
    assert "includes no" in refused()
    config.write_text(sound + "NoSuchOption yes\n")
    assert "refuses the configuration" in refused()
    config.write_text(sound)
    (directory / "01-theirs.conf").write_text(
        "Match User basilica\n  AuthorizedKeysFile .ssh/authorized_keys\nMatch all\n"
    )
    assert "another line" in refused()
    assert [one.name for one in directory.iterdir()] == ["01-theirs.conf"]


@pytest.mark.skipif(shutil.which("sudo") is None, reason="sudo is not installed (Debian: apt-get install sudo)")
def test_the_command_shows_its_plan_and_what_it_is_worth(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """Where the account itself may use sudo the file is kept by that, and the plan says that guests may as well."""
    node = sshd_nodes(has_own_etc=True)
    rule = node.root / "etc" / "sudoers.d" / "basilica"
    rule.write_text("basilica ALL=(ALL) NOPASSWD: ALL\n")
    rule.chmod(0o440)
    subnet = subnets([node])
    name = node_id(subnet)

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "basilica_tui", "keys", "protect", *words, "--socket", str(subnet.socket)]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    plan = run(name, "--login", node.username, "--plan")
    assert plan.returncode == 0 and plan.stdout.startswith("1. as basilica@") and not root_file(node).exists()
    assert "beware: the account may use sudo without a password" in plan.stdout
    assert run("nobody").returncode == 2 and run(name, "--undo", "--yes").returncode != 0
    done = run(name, "--login", node.username, "--yes")
    assert done.returncode == 0, done.stderr
    asyncio.run(subnet.discover(subnet.validators[0], "B"))
    assert grants(node) == (0, 1) and root_file(node).stat().st_uid == 0
    assert run(name, "--undo", "--yes").returncode == 0
    assert grants(node) == (1, 0) and not root_file(node).exists()


@pytest.mark.parametrize(
    ("step", "way_on"), [("entering", "user"), ("root", "root"), ("leaving", "root"), ("leaving", "user")]
)
def test_a_move_killed_at_any_step_goes_on_either_way(
    sshd_nodes: Nodes, subnets: Subnets, step: str, way_on: str
) -> None:
    """Each grant is usable all the time; the verb finishes the move or takes it back, and no line stands twice."""
    node = sshd_nodes(has_own_etc=True)
    subnet = subnets([node])
    validator, before = subnet.validators[0], node.keys()
    asyncio.run(subnet.discover(validator, "B"))
    if step == "leaving":
        move(subnet, "root")
    subnet.stop()
    subnet.start(die_at=f"key.grants_file:{step}")
    subnet.settle()
    with pytest.raises(EngineUnreachable):
        move(subnet, "user" if step == "leaving" else "root")
    assert subnet.wait_dead() == -9
    assert sum(grants(node)) == 1 and ssh_login(node, validator.key_path).stdout == "in\n"
    subnet.start()
    subnet.settle()
    if step == "root":  # sshd reads the new file, so the next look moves what the kill left behind
        asyncio.run(until_grants(node, (0, 1)))
    move(subnet, way_on)
    assert grants(node) == ((0, 1) if way_on == "root" else (1, 0))
    assert ssh_login(node, validator.key_path).stdout == "in\n"
    act(subnet, "session.end", hotkey=validator.hotkey)
    assert grants(node) == (0, 0) and node.keys() == before


@pytest.mark.parametrize("place", ["root", "user"])
def test_a_second_copy_that_a_kill_left_goes(sshd_nodes: Nodes, subnets: Subnets, place: str) -> None:
    """Killed between writing a line in the one file and taking it out of the other: the next start takes it out."""
    node = sshd_nodes(has_own_etc=True)
    subnet = subnets([node])
    validator, before = subnet.validators[0], node.keys()
    move(subnet, "root")
    asyncio.run(subnet.discover(validator, "B"))
    line = root_file(node).read_bytes()
    subnet.kill()
    node.authorize(before + line)
    if place == "user":
        subnet.start(die_at="key.grants_file:leaving")
        subnet.settle()
        with pytest.raises(EngineUnreachable):
            move(subnet, "user")
        subnet.wait_dead()
        root_file(node).write_bytes(line)
    subnet.start()
    asyncio.run(until_grants(node, (0, 1) if place == "root" else (1, 0)))
    assert ssh_login(node, validator.key_path).stdout == "in\n"


async def until_grants(node: NodeSshd, wanted: tuple[int, int]) -> None:
    """Wait for the engine's next look."""
    async with asyncio.timeout(120):
        while grants(node) != wanted:
            await asyncio.sleep(0.2)


def test_the_nodes_key_is_rotated_for_roots_login_too(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """Otherwise the engine would lose its way to root's file with the former key."""
    node = sshd_nodes(has_own_etc=True)
    subnet = subnets([node])
    move(subnet, "root")
    former = (subnet.root / "node_key.pub").read_text().split()[1]
    result = act(subnet, "node_key.rotate")
    assert result["done"] == 2 and not result["pending"]
    present = (subnet.root / "node_key.pub").read_text().split()[1]
    for text in (node.root_keys.read_text(), node.keys().decode()):
        assert present in text and former not in text
    asyncio.run(subnet.discover(subnet.validators[0], "B"))
    assert grants(node) == (0, 1)


def test_the_records_are_lost(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """A line in root's file that nobody remembers is shown as what it is, and goes on the operator's word."""
    node = sshd_nodes(has_own_etc=True)
    subnet = subnets([node])
    move(subnet, "root")
    asyncio.run(subnet.discover(subnet.validators[0], "B"))
    subnet.kill()
    for path in (subnet.root / "data").glob("miner.db*"):
        path.unlink()
    subnet.start()
    subnet.settle()
    (orphan,) = [
        line
        for line in act(subnet, "node.inventory", node_id=node_id(subnet))["lines"]
        if line["file"] == "basilica_keys"
    ]
    assert orphan["kind"] == "orphan" and orphan["until"] is not None
    with pytest.raises(ControlRefused, match="only root"):
        act(subnet, "node.remove_key", node_id=node_id(subnet), fingerprint=orphan["fingerprint"])
    move(subnet, "root")
    act(subnet, "node.remove_key", node_id=node_id(subnet), fingerprint=orphan["fingerprint"])
    assert grants(node) == (0, 0)


def test_sshd_is_no_longer_told(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """Somebody removes the drop-in: no validator is offered the node, keys still go; a new set-up mends it."""
    node = sshd_nodes(has_own_etc=True)
    subnet = subnets([node], validator_assignment={"enabled": False})
    validator, other = subnet.validators
    move(subnet, "root")
    asyncio.run(subnet.discover(other, "B"))
    for path in (node.etc_ssh / "sshd_config.d").iterdir():
        path.unlink()
    assert not cast("Any", asyncio.run(subnet.discover(validator, "B"))).nodes
    assert grants(node) == (0, 1) and ssh_login(node, other.key_path).stdout == "in\n"  # sshd has not noticed
    act(subnet, "grant.revoke", node_id=node_id(subnet), hotkey=other.hotkey)  # no word of the first one's key
    assert grants(node) == (0, 0)
    node.restart()
    assert not cast("Any", asyncio.run(subnet.discover(validator, "B"))).nodes
    move(subnet, "root")
    assert len(cast("Any", asyncio.run(subnet.discover(validator, "B"))).nodes) == 1
    assert ssh_login(node, validator.key_path).stdout == "in\n"


def test_the_doctor_looks_into_roots_file(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """Keys there count as in place; a file that others may write, or that is gone, is a finding with its reason."""
    node = sshd_nodes(has_own_etc=True)
    subnet = subnets([node])
    move(subnet, "root")
    asyncio.run(subnet.discover(subnet.validators[0], "B"))

    def examine() -> dict[str, tuple[str, str]]:
        command = [
            sys.executable, "-m", "basilica_tui", "doctor", "--config", str(subnet.config_path), "--scope", "access",
            "--scope", "node", "--no-container", "--json",
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
        checks = json.loads(done.stdout)["results"]
        return {one["check"]: (one["verdict"], one["cause"]) for one in checks}

    found = examine()
    assert found["access.keys"] == ("ok", "") and found["access.root_file"] == ("ok", "")
    assert found["access.strays"] == ("ok", "")
    root_file(node).chmod(0o666)
    assert examine()["access.root_file"] == ("failed", "not_roots")
    root_file(node).unlink()
    subnet.kill()
    assert examine()["access.root_file"] == ("failed", "root_file_gone")
