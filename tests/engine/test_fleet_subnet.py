"""The fleet end to end: a miner's process over real sshd nodes, and what its console sees."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.chain import open_chain
from engine.control.client import Snapshot
from engine.control.models import EngineView, NodeView
from tests.support.miner_subnet import NETUID
from tests.support.sshd import FAKE_NVIDIA_SMI, NodeSshd
from tests.support.subnets import Subnets

pytestmark = pytest.mark.sshd
Nodes = Callable[..., NodeSshd]
UUID = "GPU-11111111-aaaa-bbbb-cccc-00000000000"


def views(snapshot: Snapshot) -> list[NodeView]:
    return [view for view in snapshot.views["nodes"].values() if isinstance(view, NodeView)]


def is_assigned(snapshot: Snapshot) -> bool:
    engine = snapshot.views["engine"]["engine"]
    return isinstance(engine, EngineView) and engine.assigned_hotkey != ""


def tool(node: NodeSshd) -> Path:
    return node.tools / "nvidia-smi"


def test_one_gpu_on_two_nodes_and_its_end(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """Two nodes that show the same cards are both marked; when one shows its own, neither is."""
    subnet = subnets([sshd_nodes(), sshd_nodes()])
    subnet.start()
    shared = asyncio.run(subnet.until(lambda s: all(len(v.shared_gpus) == 2 for v in views(s)) and len(views(s)) == 2))
    assert all(any("also on" in warning for warning in view.warnings) for view in views(shared))

    tool(subnet.nodes[1]).write_text(FAKE_NVIDIA_SMI.replace(UUID, UUID.replace("1111", "2222")))
    after = asyncio.run(subnet.until(lambda s: not any(v.shared_gpus for v in views(s))))

    assert not any("also on" in warning for view in views(after) for warning in view.warnings)
    assert any(view.last_drift.startswith("gpu_uuids") for view in views(after))


def test_drift_is_known_across_a_restart(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """A driver that changed while the engine was down is reported by the next run."""
    subnet = subnets([sshd_nodes()])
    subnet.start()
    asyncio.run(subnet.until(lambda s: any(v.cuda == "12.4" for v in views(s))))
    subnet.stop()
    tool(subnet.nodes[0]).write_text(FAKE_NVIDIA_SMI.replace("550.54.15", "580.65.06").replace("12.4", "13.0"))
    subnet.start()
    snapshot = asyncio.run(subnet.until(lambda s: any(v.last_drift.startswith("cuda") for v in views(s))))

    (view,) = views(snapshot)
    assert (view.driver, view.cuda, view.last_drift) == ("580.65.06", "13.0", "cuda: 12.4 became 13.0")


def test_a_visit_starts_the_ramp_and_a_crash_keeps_it(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """The first discovery opens the run; after SIGKILL the estimate goes on from the same moment."""
    subnet = subnets([sshd_nodes()])
    subnet.start()
    asyncio.run(subnet.until(lambda s: is_assigned(s) and all(v.state == "healthy" for v in views(s))))
    (before,) = views(asyncio.run(subnet.snapshot()))
    assert (before.ramp_percent, before.estimated_score) == (None, None)
    validator = subnet.validators[0]
    asyncio.run(subnet.discover(validator))
    (running,) = views(asyncio.run(subnet.until(lambda s: all(v.ramp_since is not None for v in views(s)))))
    answer = asyncio.run(subnet.act("node.what_if", node_id=running.id))
    asyncio.run(asyncio.sleep(2.5))
    subnet.kill()
    subnet.start()
    (after,) = views(asyncio.run(subnet.until(lambda s: all(v.ramp_since is not None for v in views(s)))))

    assert (running.ramp_validator, running.estimated_score) == (validator.hotkey, 1.0)
    assert isinstance(answer, dict) and answer["windows"][0]["misses"] == "every check"
    assert after.ramp_since == running.ramp_since and after.ramp_resets == ()
    assert after.full_at == pytest.approx((running.ramp_since or 0) + 14 * 86400)


def test_all_nodes_are_checked_on_request(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """An operator's sweep says how many passed."""
    subnet = subnets([sshd_nodes(), sshd_nodes()], node_management={"health_check_interval": 600})
    subnet.start()
    subnet.nodes[1].stop()
    answer = asyncio.run(subnet.act("fleet.check"))
    assert answer == {"passed": 1, "nodes": 2}


def test_a_validators_weights_on_chain_reach_the_console(sshd_nodes: Nodes, subnets: Subnets) -> None:
    """One validator's vector names the miner, the other one's is not there: both are told, on request and by itself."""
    subnet = subnets([sshd_nodes()])
    subnet.admin.set_parameter(NETUID, "weights_rate_limit", 0)
    first, second = subnet.validators

    async def weigh() -> None:
        chain = open_chain(
            network="local", netuid=NETUID, chain_endpoint=f"file:{subnet.root / 'chain.db'}", wallet=first.wallet
        )
        uid = next(n.uid for n in (await chain.metagraph()).neurons if n.hotkey == subnet.miner.signer.hotkey)
        await chain.set_weights({uid: 1.0})
        await chain.close()

    asyncio.run(weigh())
    subnet.start()
    result = asyncio.run(subnet.act("chain.weights"))
    assert result == {"validators": 2, "with_weights": 1}
    snapshot = asyncio.run(subnet.until(lambda s: engine_of(s).own_weight == 1.0))
    told = [text.split()[2:] for text in engine_of(snapshot).own_weights]
    assert told == [[first.hotkey, "1.000000"], [second.hotkey, "-"]]


def engine_of(snapshot: Snapshot) -> EngineView:
    engine = snapshot.views["engine"]["engine"]
    assert isinstance(engine, EngineView)
    return engine
