"""The doctor inside a running miner: what it finds reaches consoles, and a plan runs only as it was shown."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import asyncssh
import pytest

from engine.control.models import HOST_ID, DiagnosisView, rungs_of
from engine.errors import ControlRefused
from tests.support.sshd import NodeSshd
from tests.support.subnets import Subnets

pytestmark = [pytest.mark.sshd, pytest.mark.timeout(300)]
Nodes = Callable[..., NodeSshd]


def test_findings_reach_consoles_and_a_shown_plan_repairs(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """Leftovers are found, shown as a read model, removed by the plan that was shown, and by no other."""
    node = sshd_nodes()
    subnet = subnets([node], alerts={"node_disk_min_gb": 0.05})
    left = asyncssh.generate_private_key("ssh-ed25519").export_public_key("openssh").decode().split()
    node.authorize(node.keys().decode() + f"{left[0]} {left[1]} validator-validator\n")
    subnet.start()
    node_id = next(iter(subnet.settle().nodes))
    about = {"check": "node.leftovers", "node_id": node_id}

    asyncio.run(subnet.act("doctor.run", node_id=node_id))
    view = asyncio.run(subnet.snapshot()).of(DiagnosisView)[node_id]
    rung = next(one for one in rungs_of(view) if one.check == "node.leftovers")
    plan = asyncio.run(subnet.act("doctor.plan", **about))
    assert isinstance(plan, dict)
    with pytest.raises(ControlRefused) as refused:
        asyncio.run(subnet.act("doctor.fix", **about, consent="another plan"))
    done = asyncio.run(subnet.act("doctor.fix", **about, consent=plan["consent"]))

    assert (rung.verdict, rung.cause, rung.fixes) == ("warning", "keys", "node.remove_leftovers")
    assert not view.running
    assert view.ok > 10
    assert refused.value.reason == "other_plan"
    assert isinstance(done, dict)
    assert done["ending"] == "repaired"
    assert node.keys().count(b"validator-validator") == 0
    after = asyncio.run(subnet.snapshot()).of(DiagnosisView)[node_id]
    assert after.last_fix.startswith("node.remove_leftovers: repaired")


def test_the_engine_examines_itself(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """Without a node everything is looked at: the engine's own ports and socket are its own."""
    subnet = subnets([sshd_nodes()], alerts={"node_disk_min_gb": 0.05})
    subnet.start()
    subnet.settle()

    asyncio.run(subnet.act("doctor.run"))
    rungs = {one.check: one for one in rungs_of(asyncio.run(subnet.snapshot()).of(DiagnosisView)[HOST_ID])}

    assert rungs["host.ports"].verdict == "ok"
    assert rungs["service.engine"].verdict == "ok"
    assert rungs["chain.registered"].verdict == "ok"
    assert rungs["chain.axon"].verdict == "ok"
