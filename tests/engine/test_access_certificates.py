"""SSH certificates between our own engines, on real sshd nodes: who gets in, until when, and who does not."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from engine.clock import SystemClock
from engine.errors import BasilicaError, ControlRefused, SshHostKeyChanged
from engine.ssh.host_keys import HostKeys
from engine.ssh.pool import NodePool
from engine.ssh.target import NodeTarget
from engine.validator.miner_client import MinerNodes
from engine.validator.papers import use_papers
from tests.support.miner_subnet import PATIENCE_S, MinerSubnet, Validator, ssh_command, ssh_login
from tests.support.sshd import NodeSshd
from tests.support.subnets import Subnets

pytestmark = [pytest.mark.sshd, pytest.mark.timeout(300)]
Nodes = Callable[..., NodeSshd]
ACCESS: dict[str, object] = {"ssh_certificates": True, "reconcile_interval": 1, "node_deadline": 20}
OPEN: dict[str, object] = {"enabled": False, "interval": 1}


@pytest.fixture
def subnets(subnets: Subnets) -> Subnets:
    """Makes subnets that issue certificates, and starts them."""

    def make(nodes: list[NodeSshd], **access: object) -> MinerSubnet:
        subnet = subnets(nodes, access=ACCESS | access, validator_assignment=OPEN)
        subnet.start()
        subnet.settle()
        return subnet

    return make


def discover(subnet: MinerSubnet, validator: Validator, dialect: str = "B") -> MinerNodes:
    return asyncio.run(subnet.discover(validator, dialect))


def certified_login(
    node: NodeSshd, validator: Validator, offer: MinerNodes, command: str = "echo in"
) -> subprocess.CompletedProcess[str]:
    """The real ssh program with the certificate of that answer beside the key."""
    (text,) = [one.certificate for one in offer.nodes if one.port == node.port]
    beside = Path(f"{validator.key_path}-cert.pub")
    beside.write_text(text + "\n")
    try:
        return ssh_login(node, validator.key_path, command)
    finally:
        beside.unlink()


def our_lines(node: NodeSshd) -> list[str]:
    return [line for line in node.keys().decode().splitlines() if " grant=" in line and "canary" not in line]


def act(subnet: MinerSubnet, verb: str, **args: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", asyncio.run(subnet.act(verb, **args)))


def node_ids(subnet: MinerSubnet) -> list[str]:
    return list(asyncio.run(subnet.snapshot()).views["nodes"])


def test_a_validator_of_ours_enters_by_certificate_and_leaves_with_its_name_on_the_line(
    sshd_nodes: Nodes, subnets: Subnets
) -> None:
    """One line per node for all guests; no key of a guest in it; ending an access takes its name off, not the line."""
    node = sshd_nodes()
    subnet = subnets([node])
    before = node.keys()
    first, second = subnet.validators
    offers = {one.hotkey: discover(subnet, one) for one in (first, second)}

    (line,) = our_lines(node)
    assert line.startswith('cert-authority,principals="basilica-') and line.count("basilica-") == 2
    assert "restrict,pty,expiry-time=" in line and " validator-ca grant=ca-" in line
    for validator in (first, second):
        assert validator.key.blob_base64 not in node.keys().decode()
        assert ssh_login(node, validator.key_path).returncode == 255, "the key alone is nothing"
        entered = certified_login(node, validator, offers[validator.hotkey])
        assert (entered.returncode, entered.stdout) == (0, "in\n"), entered.stderr
    assert certified_login(node, first, offers[second.hotkey]).returncode == 255, "another's certificate"

    assert act(subnet, "session.end", hotkey=first.hotkey) == {"ended": 1, "keys_left": 0}

    assert certified_login(node, first, offers[first.hotkey]).returncode == 255
    assert certified_login(node, second, offers[second.hotkey]).returncode == 0
    (line,) = our_lines(node)
    assert line.count("basilica-") == 1
    assert act(subnet, "session.end", hotkey=second.hotkey) == {"ended": 1, "keys_left": 0}
    assert node.keys() == before


def test_the_node_says_whose_certificate_it_was_and_the_operator_sees_who_may_enter(
    sshd_nodes: Nodes, subnets: Subnets
) -> None:
    """The key id in sshd's log and in the audit log is the same; the inventory names guest, since and until."""
    node = sshd_nodes()
    subnet = subnets([node])
    validator = subnet.validators[0]
    offer = discover(subnet, validator)
    assert certified_login(node, validator, offer).returncode == 0

    (node_id,) = node_ids(subnet)
    lines = act(subnet, "node.inventory", node_id=node_id)["lines"]

    by_kind = {line["kind"]: line for line in lines}
    guest = by_kind["certificate"]
    assert guest["holder"] == f"validator-{validator.hotkey}" and guest["fingerprint"] == validator.key.fingerprint
    assert guest["until"] - guest["since"] > 3000
    assert by_kind["authority"]["holder"] == "validator-ca"
    assert f"ID validator-{validator.hotkey} grant={guest['grant_id']}" in node.log()
    with pytest.raises(ControlRefused, match="not removed"):
        act(subnet, "node.remove_key", node_id=node_id, fingerprint=by_kind["authority"]["fingerprint"])


def test_others_are_served_with_a_key_line_as_ever(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """A deployed validator knows nothing of certificates and gets what it expects, beside one that does."""
    node = sshd_nodes()
    subnet = subnets([node])
    deployed, ours = subnet.validators

    offer = discover(subnet, deployed, "A")
    certified = discover(subnet, ours)

    assert [one.certificate for one in offer.nodes] == [""]
    assert ssh_login(node, deployed.key_path).returncode == 0
    assert certified_login(node, ours, certified).returncode == 0
    assert sorted("cert-authority" in line for line in our_lines(node)) == [False, True]


def test_a_certificate_ends_with_its_grant_also_when_the_miner_is_dead(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """Nobody is left to take anything back: the node closes by itself, and the line is over too."""
    node = sshd_nodes()
    subnet = subnets([node], session_lifetime=15)
    validator = subnet.validators[0]
    offer = discover(subnet, validator)
    assert certified_login(node, validator, offer).returncode == 0
    subnet.kill()
    (line,) = our_lines(node)
    ends = int(line.rpartition("exp=")[2])

    time.sleep(max(0.0, ends + 1.5 - time.time()))

    assert certified_login(node, validator, offer).returncode == 255
    subnet.start()
    deadline = time.monotonic() + PATIENCE_S
    while our_lines(node):
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_sessions_are_ended_and_renewals_count_for_open_connections(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """The forced command travels in the certificate and asks the line for its end, so both work as with keys."""
    node = sshd_nodes()
    subnet = subnets([node])
    validator = subnet.validators[0]
    offer = discover(subnet, validator)
    marked = certified_login(node, validator, offer, "echo $BASILICA_GRANT")
    (line,) = our_lines(node)
    assert marked.stdout.strip() and f" {marked.stdout.strip()}=" in line
    refused = certified_login(node, validator, offer, "sed -i /cert-authority/d ~/.ssh/authorized_keys; exit 0")
    assert refused.returncode == 0
    assert "cert-authority" not in node.keys().decode()

    discover(subnet, validator)

    assert len(our_lines(node)) == 1, "what somebody took away is there again"
    beside = Path(f"{validator.key_path}-cert.pub")
    beside.write_text(discover(subnet, validator).nodes[0].certificate + "\n")
    command = ssh_command(node, validator.key_path, "echo on; sleep 300")
    sleeper = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert sleeper.stdout is not None and sleeper.stdout.readline() == b"on\n"
    assert act(subnet, "session.end", hotkey=validator.hotkey)["keys_left"] == 0
    assert sleeper.wait(100) != 0
    sleeper.stdout.close()


def test_a_node_that_takes_no_certificates_gets_keys(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """It is tried once at enrolment; the validator is offered such a node with its plain key in place."""
    hard = sshd_nodes(options=("PubkeyAcceptedAlgorithms ssh-ed25519",))
    soft = sshd_nodes()
    subnet = subnets([hard, soft])
    validator = subnet.validators[0]

    offer = discover(subnet, validator)

    assert {one.port: bool(one.certificate) for one in offer.nodes} == {hard.port: False, soft.port: True}
    assert ssh_login(hard, validator.key_path).returncode == 0
    assert certified_login(soft, validator, offer).returncode == 0


def test_turned_off_the_next_discovery_brings_a_key_line_and_the_authority_goes(
    sshd_nodes: Nodes, subnets: Subnets
) -> None:
    """A reload is enough, in both directions, and nobody is locked out on the way."""
    node = sshd_nodes()
    subnet = subnets([node])
    validator = subnet.validators[0]
    offer = discover(subnet, validator)
    text = subnet.config_path.read_text()
    subnet.config_path.write_text(text.replace("ssh_certificates = true", "ssh_certificates = false"))
    act(subnet, "engine.reload")

    plain = discover(subnet, validator)

    assert plain.nodes[0].certificate == "" and plain.host_authority == ""
    assert ssh_login(node, validator.key_path).returncode == 0
    assert certified_login(node, validator, offer).returncode == 0, "ssh tries the plain key next"
    assert ["cert-authority" in line for line in our_lines(node)] == [False]
    subnet.config_path.write_text(text)
    act(subnet, "engine.reload")
    assert discover(subnet, validator).nodes[0].certificate
    assert ["cert-authority" in line for line in our_lines(node)] == [True]


def test_killed_in_the_middle_the_authority_names_exactly_the_rows(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """After SIGKILL right behind the change of the file the next start makes line and rows agree."""
    node = sshd_nodes()
    subnet = subnets([node], session_lifetime=20)
    subnet.stop()
    before = node.keys()
    for moment in ("grant.written", "key.deployed", "key.removed"):
        subnet.start(die_at=moment)
        with contextlib.suppress(BasilicaError):  # it is killed while it answers
            discover(subnet, subnet.validators[0])
            if moment == "key.removed":
                act(subnet, "session.end", hotkey=subnet.validators[0].hotkey)
        subnet.wait_dead()
        content = node.keys()
        assert all(line in content for line in before.splitlines())
    subnet.start()
    deadline = time.monotonic() + PATIENCE_S
    while node.keys() != before:
        assert time.monotonic() < deadline, node.keys()
        time.sleep(0.2)


async def test_a_validator_believes_only_the_host_key_that_the_miner_has_subnets(
    sshd_nodes: Nodes, subnets: Subnets
) -> None:
    """No trust on first use: another key than the certified one is refused on the very first visit."""
    node = sshd_nodes()
    subnet = await asyncio.to_thread(subnets, [node])
    validator = subnet.validators[0]
    offer = await subnet.discover(validator, "B")
    (offered,) = offer.nodes
    assert offer.host_authority.startswith("ssh-ed25519 ")
    target = NodeTarget(offered.node_id, offered.host, offered.port, offered.username)
    pool = NodePool(validator.key, HostKeys(None), clock=SystemClock(), emit=lambda event: None)
    try:
        await use_papers(pool, target, offered, offer.host_authority, time.time())
        assert pool.host_keys.is_vouched(target)
        assert (await pool.run(target, "echo in")).stdout == b"in\n"
        await pool.drop(target)
        await asyncio.to_thread(node.restart, new_host_key=True)
        with pytest.raises(SshHostKeyChanged):
            await pool.run(target, "true")
        stranger = NodePool(validator.key, HostKeys(None), clock=SystemClock(), emit=lambda event: None)
        await use_papers(stranger, target, offered, offer.host_authority, time.time())
        with pytest.raises(SshHostKeyChanged):
            await stranger.run(target, "true")
        await stranger.close()
    finally:
        await pool.close()
