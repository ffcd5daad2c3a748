"""The audit log of a real miner: a validator's visit is on record, and SIGKILL leaves the chain whole."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from basilica_tui.cli import app
from engine.control.client import Snapshot
from engine.control.models import EngineView
from tests.support.miner_subnet import create_subnet
from tests.support.nursery import Nursery
from tests.support.sshd import NodeSshd

pytestmark = pytest.mark.sshd


def _is_assigned(snapshot: Snapshot) -> bool:
    engine = snapshot.views["engine"]["engine"]
    return isinstance(engine, EngineView) and engine.assigned_hotkey != ""


def test_a_visit_is_on_record_and_survives_sigkill(
    sshd_nodes: Callable[..., NodeSshd], tmp_path: Path, nursery: Nursery
) -> None:
    """Authentication, grant, key and refusal are there with who and whom; killed and started again, one chain."""
    node = sshd_nodes()
    subnet = create_subnet(tmp_path, [node])
    subnet.nursery = nursery
    subnet.start()
    try:
        asyncio.run(subnet.until(_is_assigned))
        asyncio.run(subnet.discover(subnet.validators[0]))
        asyncio.run(subnet.act("assignment.refresh"))
        asyncio.run(asyncio.sleep(1))
        subnet.kill()
        subnet.start()
        asyncio.run(subnet.until(_is_assigned))
    finally:
        subnet.stop()

    shown = CliRunner().invoke(app, ["audit", "show", "--config", str(subnet.config_path), "--json"])
    records = [json.loads(line) for line in shown.stdout.splitlines()]
    hotkey = subnet.validators[0].hotkey
    kinds = [record["kind"] for record in records]
    assert kinds.count("engine.started") == 2
    assert kinds[-1] == "engine.stopping"
    for kind in ("door.authenticated", "grant.written", "key.deployed"):
        assert [r["actor"] for r in records if r["kind"] == kind] == [hotkey], kind
    assert [r["outcome"] for r in records if r["kind"] == "operator.acted"] == ["assignment.refresh: done"]
    assert "node.host_key_pinned" in kinds

    verified = CliRunner().invoke(app, ["audit", "verify", "--config", str(subnet.config_path), "--json"])
    assert verified.exit_code == 0, verified.stdout
    assert json.loads(verified.stdout)["anchors"] >= 1
