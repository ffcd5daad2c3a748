"""Reloading a real engine over real sshd nodes: what changes at once, what waits, and what must never change."""

from __future__ import annotations

import asyncio
import os
import signal
import tomllib
from collections.abc import Callable
from typing import Any

import pytest
import tomli_w

from engine.control.client import Snapshot
from engine.control.models import EngineView, NodeView, SessionView
from engine.errors import ControlRefused
from tests.support.miner_subnet import MinerSubnet, operator_line, ssh_login
from tests.support.sshd import NodeSshd
from tests.support.subnets import Subnets

pytestmark = [pytest.mark.sshd, pytest.mark.timeout(300)]
Nodes = Callable[..., NodeSshd]


def entry(node: NodeSshd, **more: object) -> dict[str, object]:
    return {"host": node.host, "port": node.port, "username": node.username, **more}


def change(subnet: MinerSubnet, edit: Callable[[dict[str, Any]], object]) -> None:
    document = tomllib.loads(subnet.config_path.read_text())
    edit(document)
    subnet.config_path.write_text(tomli_w.dumps(document))


def set_nodes(subnet: MinerSubnet, *entries: dict[str, object]) -> None:
    change(subnet, lambda document: document["node_management"].update(nodes=list(entries)))


def hang_up(subnet: MinerSubnet) -> None:
    os.kill(subnet.pid, signal.SIGHUP)


def assigned(subnet: MinerSubnet) -> None:
    asyncio.run(subnet.until(lambda s: engine_of(s).assigned_hotkey != ""))


def engine_of(snapshot: Snapshot) -> EngineView:
    view = snapshot.views["engine"]["engine"]
    assert isinstance(view, EngineView)
    return view


def nodes_of(snapshot: Snapshot) -> list[NodeView]:
    return [view for view in snapshot.views["nodes"].values() if isinstance(view, NodeView)]


def session_of(snapshot: Snapshot, hotkey: str) -> SessionView:
    view = snapshot.views["sessions"][hotkey]
    assert isinstance(view, SessionView)
    return view


def our_lines(node: NodeSshd) -> list[str]:
    lines = node.keys().decode().splitlines()
    return [line for line in lines if " grant=" in line and " renter-canary " not in line]


def assert_operator_untouched(*nodes: NodeSshd) -> None:
    for node in nodes:
        assert node.keys().decode().splitlines(keepends=True)[0] == operator_line()


def test_sighup_adds_a_node(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """A node that was added to the file is watched at once and served at the next discovery."""
    first, second = sshd_nodes(), sshd_nodes()
    subnet = subnets([first, second], node_entries=[entry(first)])
    subnet.start()
    assigned(subnet)
    validator = subnet.validators[0]
    assert len(asyncio.run(subnet.discover(validator)).nodes) == 1
    (line,) = our_lines(first)

    set_nodes(subnet, entry(first), entry(second))
    hang_up(subnet)
    asyncio.run(subnet.until(lambda s: sum(n.state == "healthy" for n in nodes_of(s)) == 2))
    assert our_lines(first) == [line]

    offer = asyncio.run(subnet.discover(validator))
    assert {node.port for node in offer.nodes} == {first.port, second.port}
    assert ssh_login(second, validator.key_path).stdout == "in\n"
    assert_operator_untouched(first, second)


def test_sighup_removes_a_node(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """The keys go from a node that left the file, then it is forgotten; the other node and the session go on."""
    first, second = sshd_nodes(), sshd_nodes()
    subnet = subnets([first, second])
    subnet.start()
    assigned(subnet)
    validator = subnet.validators[0]
    asyncio.run(subnet.discover(validator))
    (kept,) = our_lines(first)

    set_nodes(subnet, entry(first))
    hang_up(subnet)
    snapshot = asyncio.run(subnet.until(lambda s: len(nodes_of(s)) == 1))

    assert our_lines(second) == []
    assert our_lines(first) == [kept]
    assert ssh_login(second, validator.key_path).returncode == 255
    assert ssh_login(first, validator.key_path).stdout == "in\n"
    assert session_of(snapshot, validator.hotkey).state == "active"
    assert snapshot.counters["keys_removed"] == 1
    assert {n.port for n in asyncio.run(subnet.discover(validator)).nodes} == {first.port}
    assert_operator_untouched(first, second)


def test_a_removed_node_that_is_down_is_cleaned_when_it_is_back(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """A node that left the file stays in view until it could be reached and its keys are gone, across a restart."""
    first, second = sshd_nodes(), sshd_nodes()
    subnet = subnets([first, second])
    subnet.start()
    assigned(subnet)
    asyncio.run(subnet.discover(subnet.validators[0]))
    second.stop()

    set_nodes(subnet, entry(first))
    assert "applied" in str(asyncio.run(subnet.act("engine.reload")))
    snapshot = asyncio.run(subnet.until(lambda s: any("no longer" in n.reason for n in nodes_of(s))))
    assert len(nodes_of(snapshot)) == 2
    assert subnet.stop() == 0
    second.start()
    assert len(our_lines(second)) == 1
    subnet.start()

    asyncio.run(subnet.until(lambda s: len(nodes_of(s)) == 1))
    assert our_lines(second) == []
    assert len(our_lines(first)) == 1
    assert_operator_untouched(first, second)


def test_an_id_that_moves_to_another_host(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """A node that keeps its id and changes its address loses its keys at the old place and gets them at the new."""
    old, new = sshd_nodes(), sshd_nodes()
    subnet = subnets([old, new], node_entries=[entry(old)])
    subnet.start()
    assigned(subnet)
    validator = subnet.validators[0]
    (offered,) = asyncio.run(subnet.discover(validator)).nodes

    set_nodes(subnet, entry(new, id=offered.node_id))
    asyncio.run(subnet.act("engine.reload"))
    asyncio.run(subnet.until(lambda s: len(nodes_of(s)) == 1 and s.counters["keys_removed"] == 1))
    assert our_lines(old) == []

    (again,) = asyncio.run(subnet.discover(validator)).nodes
    assert (again.node_id, again.port) == (offered.node_id, new.port)
    assert len(our_lines(new)) == 1
    assert_operator_untouched(old, new)


def test_a_broken_file_changes_nothing(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """The engine keeps what it has, says why, and takes the file once it is right."""
    node = sshd_nodes()
    subnet = subnets([node])
    subnet.start()
    assigned(subnet)
    good = subnet.config_path.read_text()
    subnet.config_path.write_text(good + "\n[[node_management.nodes]\n")

    hang_up(subnet)
    snapshot = asyncio.run(subnet.until(lambda s: engine_of(s).config_note != ""))
    assert "not valid TOML" in engine_of(snapshot).config_note
    with pytest.raises(ControlRefused, match="not valid TOML"):
        asyncio.run(subnet.act("engine.reload"))
    assert "Configuration not reloaded" in subnet.log()
    assert len(asyncio.run(subnet.discover(subnet.validators[0])).nodes) == 1

    subnet.config_path.write_text(good)
    hang_up(subnet)
    asyncio.run(subnet.until(lambda s: engine_of(s).config_note == ""))
    assert len(our_lines(node)) == 1


def test_what_needs_a_restart_is_said(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """Another port is named in the answer, on the screen and in the log, and not listened on; the rest is applied."""
    node = sshd_nodes()
    subnet = subnets([node])
    subnet.start()
    assigned(subnet)

    def edit(document: dict[str, Any]) -> None:
        document["metrics"]["prometheus"] = {"port": 9191}
        document["logging"] = {"level": "debug"}
        document["access"]["session_lifetime"] = 120

    change(subnet, edit)
    planned = asyncio.run(subnet.act("config.plan"))
    answer = asyncio.run(subnet.act("engine.reload"))

    assert answer == planned
    assert isinstance(answer, dict)
    assert answer["restart_needed"] == ["metrics.prometheus.port: 9090 -> 9191"]
    assert answer["applied"] == ["logging.level: info -> debug", "access.session_lifetime: 3600 -> 120"]
    snapshot = asyncio.run(subnet.snapshot())
    assert engine_of(snapshot).config_note == "restart needed for metrics.prometheus.port"
    assert "Restart needed for: metrics.prometheus.port" in subnet.log()
    asyncio.run(subnet.discover(subnet.validators[0]))
    session = session_of(asyncio.run(subnet.snapshot()), subnet.validators[0].hotkey)
    assert session.access_until is not None
    assert session.last_discovery_at is not None
    assert session.access_until - session.last_discovery_at < 121


def test_another_assignment_takes_effect(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """A fixed validator in the file replaces the assigned one; the former one's key goes."""
    node = sshd_nodes()
    subnet = subnets([node], validator_assignment={"interval": 3600})
    subnet.start()
    assigned(subnet)
    asyncio.run(subnet.discover(subnet.validators[0]))
    second = subnet.validators[1]

    fixed = {"strategy": "fixed_assignment", "validator_hotkey": second.hotkey}
    change(subnet, lambda document: document["validator_assignment"].update(fixed))
    hang_up(subnet)

    asyncio.run(subnet.until(lambda s: engine_of(s).assigned_hotkey == second.hotkey))
    asyncio.run(subnet.until(lambda s: s.counters["keys_removed"] == 1))
    assert our_lines(node) == []
    assert len(asyncio.run(subnet.discover(second)).nodes) == 1
    assert_operator_untouched(node)
