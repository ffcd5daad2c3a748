"""Broken ways: a miner and two nodes in networks of their own, with routes and firewalls that are wrong for real."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from engine.ssh.keys import ClientKey
from tests.gallery.machine import ADMIN, Machine, build_machine, let_admin_in, remove_machine, why_no_machines
from tests.gallery.world import World, build_template, build_world

pytestmark = [
    pytest.mark.sshd,
    pytest.mark.timeout(900),
    pytest.mark.usefixtures("no_deployed_miner"),
    pytest.mark.skipif(bool(why_no_machines()), reason=why_no_machines()),
    pytest.mark.skipif(
        shutil.which("ip") is None or shutil.which("iptables") is None, reason="iproute2 and iptables make the networks"
    ),
]
MINER, FIRST, SECOND = "10.231.7.1", "10.231.7.2", "10.231.7.3"
NODES = ("node", "host", "wallet")


@dataclass
class Networks:
    """Three namespaces, each behind one end of a pair whose other end is in the miner's."""

    prefix: str = field(default_factory=lambda: f"bg{os.getpid()}")

    def make(self) -> None:
        """The miner forwards between the nodes, as a router would."""
        for name in ("m", "a", "b"):
            _run("ip", "netns", "add", f"{self.prefix}{name}")
            self.inside(name, "ip", "link", "set", "lo", "up")
        self.inside("m", "ip", "link", "add", "name", "hub", "type", "bridge")
        self.inside("m", "ip", "address", "add", f"{MINER}/24", "dev", "hub")
        self.inside("m", "ip", "link", "set", "dev", "hub", "up")
        for name, address in (("a", FIRST), ("b", SECOND)):
            peer = ("peer", "name", "eth0", "netns", f"{self.prefix}{name}")
            self.inside("m", "ip", "link", "add", f"to{name}", "type", "veth", *peer)
            self.inside("m", "ip", "link", "set", f"to{name}", "master", "hub", "up")
            self.inside(name, "ip", "address", "add", f"{address}/24", "dev", "eth0")
            self.inside(name, "ip", "link", "set", "eth0", "up")

    def inside(self, name: str, *words: str) -> None:
        """A program in one of them."""
        _run(*self.launcher(name), *words)

    def launcher(self, name: str) -> tuple[str, ...]:
        """What starts a program there."""
        return ("ip", "netns", "exec", f"{self.prefix}{name}")

    def flush(self) -> None:
        """No rule is left."""
        for name in ("m", "a", "b"):
            self.inside(name, "iptables", "-P", "INPUT", "ACCEPT")
            self.inside(name, "iptables", "-F")
            self.inside(name, "nft", "add table inet guard; delete table inet guard")

    def remove(self) -> None:
        """With everything in them."""
        for name in ("m", "a", "b"):
            subprocess.run(["ip", "netns", "delete", f"{self.prefix}{name}"], capture_output=True, check=False)


def _run(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"


@pytest.fixture(scope="module")
def networks() -> Iterator[Networks]:
    """The miner's network and two nodes'."""
    made = Networks()
    try:
        made.make()
        yield made
    finally:
        made.remove()


@pytest.fixture(scope="module")
async def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wallet, key and chain."""
    return tmp_path_factory.mktemp("template")


@pytest.fixture(scope="module")
async def hotkey(template: Path) -> str:
    """The miner's."""
    return await build_template(template)


@pytest.fixture(scope="module")
def machines(template: Path, hotkey: str, networks: Networks) -> Iterator[list[Machine]]:
    """A node in each network."""
    assert hotkey
    line = ClientKey.from_file(template / "node_key").public_line
    found = [
        build_machine(line, host=host, launcher=networks.launcher(name)) for name, host in (("a", FIRST), ("b", SECOND))
    ]
    admin = ClientKey.generate("admin")
    admin.save(template.parent / "admin_key")
    for machine in found:
        let_admin_in(machine, admin.public_line)
        machine.start()
    yield found
    for machine in found:
        remove_machine(machine)


@pytest.fixture
async def world(template: Path, hotkey: str, machines: list[Machine], networks: Networks, tmp_path: Path) -> World:
    """A healthy miner that publishes its address in this network."""
    networks.flush()
    root = tmp_path / "w"
    root.mkdir(mode=0o700)
    world = await build_world(template, root, hotkey, machines)
    world.config["bittensor"]["external_ip"] = MINER
    world.config["validator_comms"]["host"] = "0.0.0.0"
    return world


def look(world: World, networks: Networks, *, script: str = "", scopes: tuple[str, ...] = NODES) -> set[Any]:
    """Check, cause, first fix and where, of every finding, as the command in the miner's network says it."""
    world.write()
    words = [word for scope in scopes for word in ("--scope", scope)]
    _, document = world.doctor(*words, launcher=networks.launcher("m"), script=script)
    return {
        (one["check"], one["cause"], "".join(one["fixes"][:1]), one["subject"])
        for one in document["results"]
        if one["verdict"] in ("warning", "failed")
    }


def at(machine: Machine) -> str:
    """How results name that node."""
    return f"basilica@{machine.host}:{machine.port}"


def named(found: set[Any]) -> set[tuple[str, str]]:
    """Without fix and place."""
    return {(one[0], one[1]) for one in found}


async def test_a_healthy_network_has_no_findings(world: World, networks: Networks) -> None:
    """Both nodes reach each other and the axon: the views from outside are fine, not skipped."""
    world.write()
    _, document = world.doctor("--scope", "node", "--scope", "host", launcher=networks.launcher("m"))
    verdicts = {(one["check"], one["verdict"]) for one in document["results"]}
    assert ("node.firewall", "ok") in verdicts
    assert ("host.axon_reach", "ok") in verdicts
    assert not {one for one in verdicts if one[1] in ("warning", "failed")}


async def test_a_node_admits_the_miner_alone(world: World, networks: Networks, machines: list[Machine]) -> None:
    """The miner gets in, the other node does not, and so validators will not."""
    networks.inside("a", "iptables", "-A", "INPUT", "-s", SECOND, "-p", "tcp", "--syn", "-j", "DROP")
    found = look(world, networks, scopes=("node",))
    assert [(one[0], one[1], one[2]) for one in found] == [("node.firewall", "closed", "node.open_port")]


RULES = """table inet guard {
  chain input {
    type filter hook input priority 0; policy drop;
    ct state established,related accept
    iifname "lo" accept
    ip saddr MINER tcp dport PORT accept
    LAST
  }
}
"""


def guard(networks: Networks, machine: Machine, folder: Path, last: str) -> None:
    """The first node's own nftables, as the guide has it: the miner gets in."""
    file = folder / "guard.nft"
    file.write_text(RULES.replace("MINER", MINER).replace("PORT", str(machine.port)).replace("LAST", last))
    networks.inside("a", "nft", "-f", str(file))


def rules_of(networks: Networks) -> str:
    """What nft says now, without counters' handles."""
    words = (*networks.launcher("a"), "nft", "list", "table", "inet", "guard")
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def as_admin(world: World, networks: Networks, template: Path, *words: str) -> dict[str, Any]:
    """The doctor over the nodes, with an administrator's login."""
    world.write()
    admin = ("--admin", ADMIN, "--admin-key", str(template.parent / "admin_key"))
    _, document = world.doctor("--scope", "node", *admin, *words, launcher=networks.launcher("m"))
    return document


def firewall_of(document: dict[str, Any], machine: Machine) -> dict[str, Any]:
    """What is said about that node's firewall."""
    found: dict[str, Any] = next(
        one for one in document["results"] if (one["check"], one["subject"]) == ("node.firewall", at(machine))
    )
    return found


@pytest.mark.parametrize("last", ["", "counter drop", "tcp dport PORT reject with tcp reset"])
async def test_a_node_s_own_rules_are_opened(
    world: World, networks: Networks, machines: list[Machine], template: Path, tmp_path: Path, last: str
) -> None:
    """nftables that drop by policy or by a last rule: the rule is named, one is put before it, the other node gets in
    now, and so does the miner still."""
    guard(networks, machines[0], tmp_path, last.replace("PORT", str(machines[0].port)))
    found = firewall_of(as_admin(world, networks, template), machines[0])
    assert (found["cause"], found["fixes"]) == ("closed", ["node.open_port"])
    assert "table inet guard, chain input" in " ".join(found["evidence"])

    after = as_admin(world, networks, template, "--fix", "--yes")

    assert [(one["fix"], one["ending"]) for one in after["fixes"]] == [("node.open_port", "repaired")], after["fixes"]
    assert firewall_of(after, machines[0])["verdict"] == "ok"
    assert rules_of(networks).count(f"tcp dport {machines[0].port} accept") == 2


async def test_opening_that_does_not_help_is_taken_back(
    world: World, networks: Networks, machines: list[Machine], template: Path, tmp_path: Path
) -> None:
    """A second chain drops as well: the node's rules are what they were, to the letter."""
    guard(networks, machines[0], tmp_path, "")
    networks.inside("a", "iptables", "-A", "INPUT", "-s", SECOND, "-j", "DROP")
    before = rules_of(networks)

    after = as_admin(world, networks, template, "--fix", "--yes")

    assert [(one["fix"], one["ending"]) for one in after["fixes"]] == [("node.open_port", "not_helped")], after["fixes"]
    assert rules_of(networks) == before


async def test_a_ban_stays_a_person_s(
    world: World, networks: Networks, machines: list[Machine], template: Path
) -> None:
    """A rule that names the other node was written on purpose: it is told, and nothing is done."""
    networks.inside("a", "iptables", "-A", "INPUT", "-s", SECOND, "-p", "tcp", "-j", "DROP")
    after = as_admin(world, networks, template, "--fix", "--yes")
    assert after["fixes"] == []
    found = firewall_of(after, machines[0])
    assert (found["cause"], any(SECOND in line for line in found["evidence"])) == ("closed", True)


async def test_a_firewall_in_front_of_the_node_is_told_apart(
    world: World, networks: Networks, machines: list[Machine], template: Path
) -> None:
    """No rule of the node's explains it: the provider's does."""
    networks.inside("b", "iptables", "-A", "OUTPUT", "-p", "tcp", "-d", FIRST, "--syn", "-j", "DROP")
    found = firewall_of(as_admin(world, networks, template), machines[0])
    assert (found["cause"], found["fixes"]) == ("in_front", [])


async def test_a_node_drops_the_miner(world: World, networks: Networks) -> None:
    """Packets that nobody answers are a timeout, not a refusal."""
    networks.inside("a", "iptables", "-A", "INPUT", "-p", "tcp", "-s", MINER, "-j", "DROP")
    assert named(look(world, networks, scopes=("node",))) == {("node.tcp", "timeout")}


async def test_a_router_says_unreachable(world: World, networks: Networks) -> None:
    """An ICMP answer names another cause than silence."""
    reject = ("-j", "REJECT", "--reject-with", "icmp-host-unreachable")
    networks.inside("m", "iptables", "-A", "OUTPUT", "-p", "tcp", "-d", FIRST, *reject)
    assert named(look(world, networks, scopes=("node",))) == {("node.tcp", "unreachable")}


async def test_no_route(world: World, networks: Networks) -> None:
    """An address that no entry of the routing table covers."""
    world.config["node_management"]["nodes"][0]["host"] = "172.30.99.1"
    assert named(look(world, networks, scopes=("node",))) == {("node.route", "no_route")}


async def test_a_name_that_nobody_knows(world: World, networks: Networks) -> None:
    """The hosts file knows other names, so the resolver works; this one has no address."""
    world.config["node_management"]["nodes"][0]["host"] = "no-such-node.invalid"
    script = "echo 'hosts: files' >$HOME/nsswitch; mount --bind $HOME/nsswitch /etc/nsswitch.conf"
    assert named(look(world, networks, script=script, scopes=("node",))) == {("node.resolve", "unknown")}


async def test_a_resolver_that_is_silent(world: World, networks: Networks) -> None:
    """Questions for the name server are dropped: the resolver is named, not the name."""
    world.config["node_management"]["nodes"][0]["host"] = "gpu-7.example.org"
    networks.inside("b", "iptables", "-A", "INPUT", "-p", "udp", "--dport", "53", "-j", "DROP")
    script = f"echo nameserver {SECOND} >$HOME/resolv; mount --bind $HOME/resolv /etc/resolv.conf"
    assert named(look(world, networks, script=script, scopes=("node",))) == {("node.resolve", "silent")}


async def test_the_axon_is_dropped_on_the_way(world: World, networks: Networks) -> None:
    """Nothing on this host is wrong, and a node's call gets no answer: a firewall in between."""
    door = str(world.config["validator_comms"]["port"])
    for name in ("a", "b"):
        networks.inside(name, "iptables", "-A", "OUTPUT", "-p", "tcp", "--dport", door, "-j", "DROP")
    assert named(look(world, networks, scopes=("host",))) == {("host.axon_reach", "dropped")}


async def test_the_axon_leads_to_another_host(world: World, networks: Networks) -> None:
    """The advertised address is somebody else's, where nothing listens on that port."""
    world.config["bittensor"]["external_ip"] = SECOND
    assert named(look(world, networks, scopes=("host",))) == {("host.axon_reach", "refused")}


async def test_the_axon_listens_on_loopback(world: World, networks: Networks) -> None:
    """The refusal is explained by the address that the door binds."""
    world.config["validator_comms"]["host"] = "127.0.0.1"
    assert named(look(world, networks, scopes=("host",))) == {("host.axon_reach", "loopback")}
