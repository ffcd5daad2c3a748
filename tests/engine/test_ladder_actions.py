"""The ladder inside an engine, over a real sshd: progress that fits a frame, the whole ladder, a plan, refusals."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.clock import SystemClock
from engine.config.miner import MinerConfig, MinerDatabaseConfig, MinerSshConfig, NodeConfig, NodeManagementConfig
from engine.control.actions import ActionTable
from engine.errors import ControlRefused
from engine.setup.ladder import LadderActions
from engine.ssh.keys import ClientKey
from tests.support.sshd import NodeSshd

pytestmark = pytest.mark.sshd
PROGRESS_LIMIT = 1000
"""Characters of a progress line that the socket carries."""


async def test_a_ladder_is_climbed_shown_and_planned(sshd_nodes: Callable[..., NodeSshd], tmp_path: Path) -> None:
    """A node without our key: the rung that decided, its evidence, a plan that names its steps; no plan without one."""
    closed, open_ = sshd_nodes(), sshd_nodes()
    key = ClientKey.generate("miner")
    key.save(tmp_path / "key")
    open_.authorize(key.public_line + "\n")
    nodes = tuple(NodeConfig(host=n.host, port=n.port, username=n.username) for n in (closed, open_))
    config = MinerConfig(
        node_management=NodeManagementConfig(nodes=nodes),
        ssh_session=MinerSshConfig(miner_node_key_path=tmp_path / "key"),
        database=MinerDatabaseConfig(url=f"sqlite:{tmp_path / 'm.db'}"),
    )
    clock = SystemClock()
    actions = ActionTable(lambda _: None, clock)
    LadderActions(lambda: config, clock).add_actions(actions)

    async def act(verb: str, said: list[str] | None = None, **args: object) -> dict[str, object]:
        report = said.append if said is not None else lambda _: None
        return dict(await actions.run(verb, args, role="operator", actor="t", report=report))

    said: list[str] = []
    answer = await act("ssh.check", said)
    assert len(said) == 2
    assert max(map(len, said)) <= PROGRESS_LIMIT
    assert {json.loads(line)["node_id"] for line in said} == {node.node_id for node in nodes}
    assert isinstance(answer["nodes"], list)
    by_id = {one["node_id"]: one for one in answer["nodes"]}
    assert by_id[nodes[0].node_id]["verdict"] == "failed"
    assert by_id[nodes[0].node_id]["check"] == "node.auth"
    assert by_id[nodes[1].node_id]["check"] != "node.auth"

    rungs = (await act("ssh.ladder", node_id=nodes[0].node_id))["rungs"]
    assert isinstance(rungs, list)
    verdicts = {rung["check"]: rung["verdict"] for rung in rungs}
    assert (verdicts["node.tcp"], verdicts["node.auth"], verdicts["node.shell"]) == ("ok", "failed", "skipped")

    plan = await act("ssh.plan", node_id=nodes[0].node_id, check="node.auth")
    assert key.public_line in str(plan["text"])
    with pytest.raises(ControlRefused) as another:
        await act("ssh.fix", node_id=nodes[0].node_id, check="node.auth", fix="something else")
    assert another.value.reason == "plan_changed"
    for node, check in ((nodes[0].node_id, "node.tcp"), ("x", "node.auth")):
        with pytest.raises(ControlRefused) as caught:
            await act("ssh.plan", node_id=node, check=check)
        assert caught.value.reason == "no_finding"
    with pytest.raises(ControlRefused) as unknown:
        await act("ssh.check", node_id="x")
    assert unknown.value.reason == "unknown_node"
    assert not closed.inside(closed.authorized_keys).exists()  # nothing was repaired without a word
    await actions.close()
