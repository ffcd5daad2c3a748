"""Alerts of a real miner over a real sshd: a node that dies and comes back, told to a real program."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.control.client import Snapshot
from engine.control.models import AlertView, NodeView
from tests.support.miner_subnet import create_subnet
from tests.support.nursery import Nursery
from tests.support.sshd import NodeSshd

pytestmark = pytest.mark.sshd


def alerts_of(snapshot: Snapshot, rule: str) -> list[bool]:
    alerts = [alert for alert in snapshot.views["alerts"].values() if isinstance(alert, AlertView)]
    return [alert.active for alert in alerts if alert.rule == rule]


def test_a_node_dies_and_comes_back(sshd_nodes: Callable[..., NodeSshd], tmp_path: Path, nursery: Nursery) -> None:
    """Killed, the node raises an alert that a program hears of; started again, it is over, and both are on record."""
    node = sshd_nodes()
    out = tmp_path / "told"
    hook = tmp_path / "hook"
    hook.write_text(f"#!/bin/sh\ncat >> {out}\n")
    hook.chmod(0o755)
    subnet = create_subnet(
        tmp_path,
        [node],
        alerts={
            "command": [str(hook)],
            "check_interval": 0.5,
            "group_delay": 0,
            "node_failing_after": 1,
            "node_disk_min_gb": 0,
            "host_disk_min_gb": 0,
        },
        node_management={"health_check_interval": 0.5, "health_check_timeout": 3},
    )
    subnet.nursery = nursery
    subnet.start()
    try:
        asyncio.run(subnet.until(lambda s: bool(s.views["nodes"]) and _is_healthy(s)))
        node.stop()
        asyncio.run(subnet.until(lambda s: alerts_of(s, "node_failing") == [True]))
        node.start()
        asyncio.run(subnet.until(lambda s: alerts_of(s, "node_failing") == [False]))
        asyncio.run(subnet.until(lambda _: len(_told(out)) >= 2))
    finally:
        subnet.stop()
    assert [state for rule, state in _told(out) if rule == "node_failing"] == ["raised", "cleared"]


def _is_healthy(snapshot: Snapshot) -> bool:
    return all(isinstance(n, NodeView) and n.state == "healthy" for n in snapshot.views["nodes"].values())


def _told(out: Path) -> list[tuple[str, str]]:
    lines = out.read_text().splitlines() if out.exists() else []
    return [(alert["rule"], alert["state"]) for line in lines for alert in json.loads(line)["alerts"]]
