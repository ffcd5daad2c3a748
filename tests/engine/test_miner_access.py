"""Access from the wire to the key file, over real sshd: given, renewed, ended, taken away, and never by halves."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tomllib
from collections.abc import Callable

import pytest
import tomli_w

from engine.errors import MinerRefused
from engine.ssh.keys import ClientKey
from tests.support.miner_subnet import OPERATOR_KEY, MinerSubnet, operator_line, ssh_login
from tests.support.sshd import NodeSshd
from tests.support.subnets import Subnets

pytestmark = pytest.mark.sshd
Nodes = Callable[..., NodeSshd]


def our_lines(node: NodeSshd) -> list[str]:
    lines = node.keys().decode().splitlines()
    return [line for line in lines if " grant=" in line and " renter-canary " not in line]


def assert_operator_untouched(subnet: MinerSubnet) -> None:
    for node in subnet.nodes:
        lines = node.keys().decode().splitlines(keepends=True)
        assert lines[0] == operator_line()
        assert len([line for line in lines if " grant=" not in line]) == 2


@pytest.mark.parametrize("dialect", ["A", "B"])
def test_discovery_opens_every_node(sshd_nodes: Nodes, subnets: Subnets, dialect: str) -> None:
    """The assigned validator gets its key onto every node and logs in; one line each, with an end and restricted."""
    subnet = subnets([sshd_nodes(), sshd_nodes()])
    subnet.start()
    subnet.settle()
    validator = subnet.validators[0]

    offer = asyncio.run(subnet.discover(validator, dialect))

    assert {(n.host, n.port) for n in offer.nodes} == {(n.host, n.port) for n in subnet.nodes}
    assert offer.dialect == dialect
    for node in subnet.nodes:
        (line,) = our_lines(node)
        assert line.startswith('restrict,pty,expiry-time="')
        assert f"validator-{validator.hotkey} grant=" in line
        assert ssh_login(node, validator.key_path).stdout == "in\n"
    assert_operator_untouched(subnet)


def test_renewal_changes_only_the_end(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """A second discovery with the same key prolongs the same grant."""
    subnet = subnets([sshd_nodes()])
    subnet.start()
    subnet.settle()
    asyncio.run(subnet.discover(subnet.validators[0]))
    (first,) = our_lines(subnet.nodes[0])
    asyncio.run(asyncio.sleep(1.1))

    asyncio.run(subnet.discover(subnet.validators[0]))

    (second,) = our_lines(subnet.nodes[0])
    assert first.split(" grant=")[1].split()[0] == second.split(" grant=")[1].split()[0]
    assert int(second.split("exp=")[1].split()[0]) > int(first.split("exp=")[1].split()[0])


def test_unassigned_validator_gets_an_empty_list(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """A permitted validator that is not the assigned one is answered OK with no nodes, and no file changes."""
    subnet = subnets([sshd_nodes()])
    subnet.start()
    subnet.settle()

    offer = asyncio.run(subnet.discover(subnet.validators[1]))

    assert offer.nodes == ()
    assert our_lines(subnet.nodes[0]) == []


def test_access_ends_on_the_node_and_the_line_goes(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """After the session's lifetime sshd denies the key, then the line is removed and the session is over."""
    subnet = subnets([sshd_nodes()], access={"session_lifetime": 12, "reconcile_interval": 1})
    subnet.start()
    subnet.settle()
    validator = subnet.validators[0]
    asyncio.run(subnet.discover(validator))
    assert ssh_login(subnet.nodes[0], validator.key_path).returncode == 0

    snapshot = asyncio.run(subnet.until(lambda s: s.counters["sessions_ended"] == 1))

    assert our_lines(subnet.nodes[0]) == []
    assert ssh_login(subnet.nodes[0], validator.key_path).returncode == 255
    assert snapshot.sessions[validator.hotkey].state == "ended"
    assert_operator_untouched(subnet)


def test_access_ends_even_if_the_miner_is_dead(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """With the engine killed the node itself closes at the end of the grant, and the next start removes the line."""
    subnet = subnets([sshd_nodes()], access={"session_lifetime": 12})
    subnet.start()
    subnet.settle()
    validator = subnet.validators[0]
    asyncio.run(subnet.discover(validator))
    subnet.kill()
    assert len(our_lines(subnet.nodes[0])) == 1

    asyncio.run(asyncio.sleep(12.5))

    assert ssh_login(subnet.nodes[0], validator.key_path).returncode == 255
    subnet.start()
    asyncio.run(subnet.until(lambda s: s.counters["keys_removed"] == 1))
    assert our_lines(subnet.nodes[0]) == []
    assert_operator_untouched(subnet)


@pytest.mark.parametrize("moment", ["grant.written", "key.deployed"])
def test_killed_in_the_middle_of_a_discovery(sshd_nodes: Nodes, subnets: Subnets, moment: str) -> None:
    """Killed after the grants were written, or with some keys on nodes: the next start completes what the rows say."""
    subnet = subnets([sshd_nodes(), sshd_nodes(), sshd_nodes()])
    subnet.start(die_at=moment)
    subnet.settle()
    with pytest.raises(Exception):  # noqa: B017 - whatever the call ends with, the engine is gone
        asyncio.run(subnet.discover(subnet.validators[0], "A"))
    assert subnet.wait_dead() == -9
    granted = [line for n in subnet.nodes for line in our_lines(n) if " renter-canary " not in line]
    assert len(granted) < len(subnet.nodes) or moment == "key.deployed"

    subnet.start()

    asyncio.run(subnet.until(lambda s: sum(n.keys_in_place for n in s.nodes.values()) == 3))
    assert [len(our_lines(n)) for n in subnet.nodes] == [1, 1, 1]
    assert_operator_untouched(subnet)


def test_operator_ends_a_session(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """The operator's word removes the key from every node at once."""
    subnet = subnets([sshd_nodes(), sshd_nodes()])
    subnet.start()
    subnet.settle()
    validator = subnet.validators[0]
    asyncio.run(subnet.discover(validator))

    result = asyncio.run(subnet.act("session.end", hotkey=validator.hotkey))

    assert result == {"ended": 2, "keys_left": 0}
    assert [our_lines(n) for n in subnet.nodes] == [[], []]
    assert ssh_login(subnet.nodes[0], validator.key_path).returncode == 255


def test_losing_the_permit_ends_access(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """A validator that loses its permit on chain loses its keys at the next reading of the metagraph."""
    subnet = subnets([sshd_nodes()])
    subnet.start()
    subnet.settle()
    validator = subnet.validators[0]
    asyncio.run(subnet.discover(validator))

    subnet.admin.set_permit(39, validator.hotkey, False)
    asyncio.run(subnet.until(lambda s: s.counters["keys_removed"] == 1))

    assert our_lines(subnet.nodes[0]) == []
    snapshot = asyncio.run(subnet.snapshot())
    assert snapshot.engine.assigned_hotkey == subnet.validators[1].hotkey


def test_a_dead_node_costs_only_itself(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """The living nodes are served at once; the dead one is reported with a reason, and served when it is back."""
    subnet = subnets([sshd_nodes(), sshd_nodes(), sshd_nodes()])
    subnet.nodes[1].stop()
    subnet.start()
    asyncio.run(subnet.until(lambda s: s.engine.assigned_hotkey != ""))

    offer = asyncio.run(subnet.discover(subnet.validators[0]))

    assert {n.port for n in offer.nodes} == {subnet.nodes[0].port, subnet.nodes[2].port}
    snapshot = asyncio.run(subnet.until(lambda s: any(n.state == "unhealthy" for n in s.nodes.values())))
    (dead,) = [n for n in snapshot.nodes.values() if n.state == "unhealthy"]
    assert dead.port == subnet.nodes[1].port
    assert "refuse" in (dead.reason + dead.last_trouble).lower()
    subnet.nodes[1].start()
    asyncio.run(subnet.until(lambda s: sum(n.keys_in_place for n in s.nodes.values()) == 3))
    assert len(our_lines(subnet.nodes[1])) == 1


def test_a_changed_host_key_stops_all_traffic_until_accepted(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """A node with another host key gets nothing; a person compares the fingerprints and accepts, then it goes on."""
    subnet = subnets([sshd_nodes(), sshd_nodes()])
    subnet.start()
    asyncio.run(subnet.until(lambda s: all(n.state == "healthy" for n in s.nodes.values())))
    node = subnet.nodes[0]
    old = node.host_key_fingerprint
    node.restart(new_host_key=True)
    snapshot = asyncio.run(subnet.until(lambda s: any(n.state == "stopped" for n in s.nodes.values())))
    (stopped,) = [n for n in snapshot.nodes.values() if n.state == "stopped"]

    offer = asyncio.run(subnet.discover(subnet.validators[0]))

    assert [n.port for n in offer.nodes] == [subnet.nodes[1].port]
    assert our_lines(node) == []
    assert (stopped.host_key_fingerprint, stopped.host_key_presented) == (old, node.host_key_fingerprint)
    asyncio.run(subnet.act("node.accept_host_key", node_id=stopped.id, fingerprint=node.host_key_fingerprint))
    asyncio.run(subnet.until(lambda s: s.nodes[stopped.id].keys_in_place == 1))
    assert len(our_lines(node)) == 1


def test_keys_that_are_not_the_validators_own_are_refused(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """The operator's key, the miner's own, or another validator's is refused and changes no file."""
    subnet = subnets([sshd_nodes()], validator_assignment={"enabled": False})
    subnet.start()
    asyncio.run(subnet.until(lambda s: s.engine.metagraph_at is not None))
    asyncio.run(subnet.discover(subnet.validators[0]))
    before = subnet.nodes[0].keys()

    for key in (OPERATOR_KEY, ClientKey.from_file(subnet.root / "node_key"), subnet.validators[0].key):
        with pytest.raises(MinerRefused) as refusal:
            asyncio.run(subnet.discover(subnet.validators[1], key=key))
        assert refusal.value.status == "INVALID_ARGUMENT"

    assert subnet.nodes[0].keys() == before


def test_a_node_removed_from_the_configuration_is_cleaned(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """After a restart without a node in the file its keys go, and its operator's lines stay."""
    first, second = sshd_nodes(), sshd_nodes()
    subnet = subnets([first, second])
    subnet.start()
    subnet.settle()
    asyncio.run(subnet.discover(subnet.validators[0]))
    assert subnet.stop() == 0
    document = tomllib.loads(subnet.config_path.read_text())
    del document["node_management"]["nodes"][1]
    subnet.config_path.write_text(tomli_w.dumps(document))

    subnet.start()
    asyncio.run(subnet.until(lambda s: s.counters["keys_removed"] == 1))

    assert our_lines(second) == []
    assert len(our_lines(first)) == 1
    assert_operator_untouched(subnet)


def test_revoke_on_exit(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """With revoke_on_exit a clean stop takes every key away; without it the grants live on until their end."""
    subnet = subnets([sshd_nodes()], access={"revoke_on_exit": True})
    subnet.start()
    subnet.settle()
    asyncio.run(subnet.discover(subnet.validators[0]))
    assert len(our_lines(subnet.nodes[0])) == 1

    assert subnet.stop() == 0

    assert our_lines(subnet.nodes[0]) == []
    assert_operator_untouched(subnet)


def test_a_second_engine_refuses(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """Two engines on one database by mistake: the second says so and ends; the first goes on."""
    subnet = subnets([sshd_nodes()])
    subnet.start()

    second = subprocess.run(
        [sys.executable, "-m", "basilica_tui", "--daemon", "--config", str(subnet.config_path)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert second.returncode == 1
    assert "already" in second.stderr
    assert "Traceback" not in second.stderr
    asyncio.run(subnet.snapshot())
