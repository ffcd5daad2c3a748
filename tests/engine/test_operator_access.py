"""What an operator changes about who enters which node, on real sshd nodes: drain, deploy, revoke, renew."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import pytest

from engine.errors import ControlRefused
from engine.ssh.keys import ClientKey
from tests.support.miner_subnet import MinerSubnet, create_subnet, ssh_login
from tests.support.nursery import Nursery
from tests.support.sshd import NodeSshd

pytestmark = pytest.mark.sshd


@pytest.fixture
def subnet(
    sshd_nodes: Callable[..., NodeSshd], tmp_path_factory: pytest.TempPathFactory, nursery: Nursery
) -> Iterator[MinerSubnet]:
    """A miner with two nodes and an assigned validator that has been let in."""
    made = create_subnet(tmp_path_factory.mktemp("s"), [sshd_nodes(), sshd_nodes()])
    made.nursery = nursery
    made.start()
    asyncio.run(made.until(lambda s: cast("Any", s.views["engine"]["engine"]).assigned_hotkey != ""))
    asyncio.run(made.discover(made.validators[0], "B"))
    yield made
    made.kill()


def _act(subnet: MinerSubnet, verb: str, **args: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", asyncio.run(subnet.act(verb, **args)))


def _view(subnet: MinerSubnet, node: NodeSshd) -> Any:
    views: Any = asyncio.run(subnet.snapshot()).views["nodes"]
    return next(n for n in views.values() if n.port == node.port)


def _until(subnet: MinerSubnet, node: NodeSshd, condition: Callable[[Any], bool]) -> None:
    asyncio.run(
        subnet.until(
            lambda s: any(v.port == node.port and condition(v) for v in cast("Any", s.views["nodes"]).values())
        )
    )


def _has_key(node: NodeSshd) -> bool:
    return b" grant=" in node.keys().replace(b"renter-canary", b"")


def test_a_drained_node_is_not_handed_out_but_checked_and_stays_so_after_a_restart(subnet: MinerSubnet) -> None:
    """What is open ends at its own time; enabled again it comes back with the next discovery."""
    validator, (first, second) = subnet.validators[0], subnet.nodes
    node_id = _view(subnet, first).id
    before = _view(subnet, first).checks_total
    result = _act(subnet, "node.drain", node_id=node_id)
    assert result["keys_left"] == 1 and result["until"] is not None
    assert _has_key(first)
    answer = asyncio.run(subnet.discover(validator, "B"))
    assert [n.port for n in cast("Any", answer).nodes] == [second.port]
    _until(subnet, first, lambda v: v.drained_since is not None and v.checks_total > before)
    subnet.stop()
    subnet.start()
    _until(subnet, first, lambda v: v.drained_since is not None)
    assert _act(subnet, "node.drain", node_id=node_id)["message"] == "it was out of service already"
    with pytest.raises(ControlRefused, match="drained"):
        _act(subnet, "grant.deploy", node_id=node_id, hotkey=validator.hotkey)
    _act(subnet, "node.enable", node_id=node_id)
    asyncio.run(subnet.until(lambda s: cast("Any", s.views["engine"]["engine"]).assigned_hotkey != ""))
    answer = asyncio.run(subnet.discover(validator, "B"))
    assert {n.port for n in cast("Any", answer).nodes} == {first.port, second.port}


def test_a_key_is_taken_off_one_node_and_put_back(subnet: MinerSubnet) -> None:
    """The validator cannot sign in there meanwhile; the other node is not touched."""
    validator, (first, second) = subnet.validators[0], subnet.nodes
    node_id, other = _view(subnet, first).id, second.keys()
    assert ssh_login(first, validator.key_path).returncode == 0
    _act(subnet, "grant.revoke", node_id=node_id, hotkey=validator.hotkey)
    assert not _has_key(first) and second.keys() == other
    assert ssh_login(first, validator.key_path).returncode != 0
    with pytest.raises(ControlRefused, match="no key there"):
        _act(subnet, "grant.revoke", node_id=node_id, hotkey=validator.hotkey)
    _act(subnet, "grant.deploy", node_id=node_id, hotkey=validator.hotkey)
    assert ssh_login(first, validator.key_path).returncode == 0
    assert second.keys() == other


def test_what_keeps_new_keys_out_keeps_no_old_one_in(subnet: MinerSubnet) -> None:
    """Anybody may write the key file, so sshd ignores it and nothing is added: what must go is taken out of it."""
    validator, node = subnet.validators[0], subnet.nodes[0]
    node_id = _view(subnet, node).id
    blob = validator.key.blob_base64.encode()
    assert blob in node.keys()  # noqa: SIM118 - a file, not a dictionary
    node.authorized_keys.chmod(0o666)
    # A second key replaces the first one: the new one is refused for the mode, the former one's time is over.
    with pytest.raises(ControlRefused, match="ignore authorized_keys"):
        asyncio.run(subnet.discover(validator, "B", key=ClientKey.generate("another")))
        _act(subnet, "node.reconcile", node_id=node_id)
    assert blob not in node.keys()  # noqa: SIM118 - as above
    node.authorized_keys.chmod(0o600)
    _act(subnet, "node.reconcile", node_id=node_id)
    assert node.keys().count(b" grant=") == 1


def test_access_is_renewed_without_a_discovery(subnet: MinerSubnet) -> None:
    """The end moves on every node that the validator has, and in its session."""
    validator = subnet.validators[0]

    def until() -> float:
        session: Any = asyncio.run(subnet.snapshot()).views["sessions"][validator.hotkey]
        return float(session.access_until)

    before, keys = until(), [node.keys() for node in subnet.nodes]
    asyncio.run(asyncio.sleep(1.1))
    result = _act(subnet, "session.renew", hotkey=validator.hotkey)
    assert result["message"] == "renewed on 2 of 2 nodes"
    assert until() > before
    assert all(node.keys() != old for node, old in zip(subnet.nodes, keys, strict=True))
    _act(subnet, "session.end", hotkey=validator.hotkey)
    with pytest.raises(ControlRefused):
        _act(subnet, "session.renew", hotkey=validator.hotkey)


@pytest.mark.parametrize("verb", ["node.drain", "node.enable", "grant.deploy", "grant.revoke", "session.renew"])
def test_unknown_names_are_refused(subnet: MinerSubnet, verb: str) -> None:
    """Nothing is written for a node or a validator that does not exist."""
    with pytest.raises(ControlRefused) as refusal:
        _act(subnet, verb, node_id="nowhere", hotkey="5Nobody")
    assert refusal.value.reason in {"unknown_node", "no_session", "no_grant"}
