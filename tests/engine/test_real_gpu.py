"""Full verification of real hardware: runs where an NVIDIA driver is, and nowhere else.

The SSH server is the localnet's; nvidia-smi, driver and GPUs are the machine's own.
"""

from __future__ import annotations

import asyncio
import ctypes
import shlex
import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from engine.clock import SystemClock
from engine.localnet.stand_in_node import StandInNode
from engine.ssh.target import NodeTarget
from engine.validator.full import FullFinding, FullVerification
from engine.validator.product import ProductTask
from tests.support.gpu_tools import ALWAYS, settings
from tests.support.pools import Pools


def has_driver() -> bool:
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return shutil.which("nvidia-smi") is not None


pytestmark = pytest.mark.skipif(not has_driver(), reason="no NVIDIA driver (libcuda.so.1, nvidia-smi) on this machine")


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[StandInNode]:
    """An SSH server whose tools are this machine's."""
    made = StandInNode(tmp_path / "node")
    await made.start()
    for name in ("nvidia-smi", "docker"):
        (made.directory / "bin" / name).unlink()
    real = shutil.which("nvidia-smi")
    assert real is not None
    (made.directory / "bin" / "nvidia-smi").symlink_to(real)
    yield made
    await made.stop()


async def verify(pools: Pools, node: StandInNode) -> FullFinding:
    node.authorized_keys.write_text(pools.key.public_line + "\n")
    run = FullVerification(
        pools.make(),
        NodeTarget("node", node.host, node.port, node.username),
        replace(settings(gates=ALWAYS | {"compute"}, is_local=False, timeout_s=60.0), task=ProductTask(4096, 16)),
        clock=SystemClock(),
        judging=asyncio.Semaphore(1),
        report=lambda step: print(f"{step.step:12} {step.verdict:10} {step.duration_ms:8.1f} ms  {step.evidence}"),
    )
    return await run.run()


async def test_a_real_card_passes(node: StandInNode, pools: Pools) -> None:
    """The card computes the product, it is checked, and its memory, capability and time are those of its model."""
    found = await verify(pools, node)
    assert found.error is None
    assert found.misbehaviour == ""
    assert {step: found.verdict(step) for step in ("gpu", "attestation", "compute")} == {
        "gpu": "ok",
        "attestation": "ok",
        "compute": "ok",
    }


async def test_a_card_that_claims_to_be_another_fails(node: StandInNode, pools: Pools) -> None:
    """An nvidia-smi that names another model does not change what the card computes and how."""
    real = shutil.which("nvidia-smi")
    assert real is not None
    tool = node.directory / "bin" / "nvidia-smi"
    tool.unlink()
    lies = ("s/NVIDIA H[12]00[^,|]*/NVIDIA B200/", "s/81559\\|143771/183359/", "s/, 9[.]0,/, 10.0,/")
    tool.write_text(f'#!/bin/sh\n{real} "$@" | sed {" ".join(f"-e {shlex.quote(lie)}" for lie in lies)}\n')
    tool.chmod(0o755)
    found = await verify(pools, node)
    assert found.verdict("compute") == "failed"
    assert found.misbehaviour == "malicious_result"
    assert found.error is not None and "B200" in found.error.message
