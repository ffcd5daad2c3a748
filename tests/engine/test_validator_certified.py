"""Our validator's rounds against our miner with SSH certificates: both know them, or only one of the two."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable

import pytest

from engine.localnet.gpu_model import GpuModel
from tests.engine.test_validator_role import validator
from tests.support.gpu_tools import furnish
from tests.support.miner_subnet import MinerSubnet
from tests.support.sshd import NodeSshd
from tests.support.subnets import Subnets

pytestmark = [pytest.mark.sshd, pytest.mark.timeout(300)]
Nodes = Callable[..., NodeSshd]
VALIDATORS_LOGIN = re.compile(r"Accepted (?:publickey|certificate) .* ID validator-(\w+) grant=\w+ \(serial \d+\) CA ")


@pytest.fixture
def subnets(subnets: Subnets) -> Subnets:
    """Makes a miner over one node, with certificates or without, and starts it."""

    def make(node: NodeSshd, certifies: bool) -> MinerSubnet:
        subnet = subnets([node], access={"ssh_certificates": certifies})
        subnet.start()
        subnet.settle()
        return subnet

    return make


def granted(node: NodeSshd) -> list[str]:
    """The key lines that the miner wrote for others."""
    lines = node.keys().decode().splitlines()
    return [line for line in lines if " grant=" in line and "canary" not in line]


@pytest.mark.parametrize(
    ("certifies", "dialect", "by_certificate"),
    [
        pytest.param(True, "B", True, id="both know certificates"),
        pytest.param(False, "B", False, id="the miner does not"),
        pytest.param(True, "A", False, id="the validator does not"),
    ],
)
async def test_two_rounds(
    sshd_nodes: Nodes, subnets: Subnets, certifies: bool, dialect: str, by_certificate: bool
) -> None:
    """A full and a lightweight verification pass over a real sshd, each login by what both sides know."""
    node = sshd_nodes()
    furnish(node, GpuModel.for_node("certified", 0))
    subnet = await asyncio.to_thread(subnets, node, certifies)
    hotkey = subnet.validators[0].hotkey
    node.restart()  # its log begins here: without the logins of the enrolment
    async with validator(subnet) as running:
        if dialect == "A":
            running.role._rounds._dialects[f"127.0.0.1:{subnet.grpc_port}"] = "A"
        await running.role.verify_all()
        await running.role.verify_all()
        assert running.verified() == [("full", True, ""), ("lightweight", True, "")]
    (line,) = granted(node)
    names = set(VALIDATORS_LOGIN.findall(node.log()))
    assert (line.startswith("cert-authority,"), names) == (by_certificate, {hotkey} if by_certificate else set())
    assert (f" validator-{hotkey} grant=" in line) is not by_certificate
