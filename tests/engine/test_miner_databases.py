"""A miner engine on each kind of database: what it promised survives its death."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.miner_subnet import create_subnet, ssh_login
from tests.support.nursery import Nursery
from tests.support.postgres import Postgres
from tests.support.sshd import NodeSshd

pytestmark = [pytest.mark.sshd, pytest.mark.timeout(300)]
Nodes = Callable[..., NodeSshd]


def test_grants_and_sessions_outlive_the_engine(
    sshd_nodes: Nodes, database_url: str, tmp_path: Path, nursery: Nursery
) -> None:
    """Killed after a discovery, the next engine knows grant, session and assignment, and renews the same grant."""
    (tmp_path / "subnet").mkdir()
    subnet = create_subnet(tmp_path / "subnet", [sshd_nodes()], database={"url": database_url})
    subnet.nursery = nursery
    validator = subnet.validators[0]
    try:
        subnet.start()
        subnet.settle()
        asyncio.run(subnet.discover(validator))
        before = grant_of(subnet.nodes[0])
        subnet.kill()
        subnet.start()
        snapshot = subnet.settle()
        assert snapshot.engine.assigned_hotkey == validator.hotkey
        assert [view.hotkey for view in snapshot.sessions.values()] == [validator.hotkey]
        asyncio.run(subnet.discover(validator))
        assert grant_of(subnet.nodes[0]) == before
        assert ssh_login(subnet.nodes[0], validator.key_path).stdout == "in\n"
        assert subnet.stop() == 0
    finally:
        subnet.kill()


def test_a_database_server_that_goes_away_for_a_while(
    sshd_nodes: Nodes, postgres: Postgres, tmp_path: Path, nursery: Nursery
) -> None:
    """While PostgreSQL is down the engine stays up, says so and grants nothing; afterwards it serves again."""
    subnet = create_subnet(tmp_path, [sshd_nodes()], database={"url": postgres.database()})
    subnet.nursery = nursery
    validator = subnet.validators[0]
    try:
        subnet.start()
        subnet.settle()
        postgres.stop()
        with pytest.raises(Exception, match=r"(?i)database|unavailable"):
            asyncio.run(subnet.discover(validator))
        assert "renter" not in subnet.nodes[0].keys().decode()
        postgres.start()
        asyncio.run(subnet.discover(validator))
        assert grant_of(subnet.nodes[0])
    finally:
        subnet.kill()


def grant_of(node: NodeSshd) -> str:
    (line,) = [line for line in node.keys().decode().splitlines() if " grant=" in line and "canary" not in line]
    return line.split(" grant=")[1].split()[0]
