"""Putting one key on many nodes: ours against the deployed way, one ``ssh`` process per node, one after another."""

from __future__ import annotations

import asyncio
import os
import subprocess
import tempfile
import time
from pathlib import Path

from engine.ssh.keys import ClientKey
from tests.bench import Figure
from tests.support.miner_subnet import MinerSubnet, create_subnet
from tests.support.sshd import NodeSshd, create_node, remove_node, why_not

NODES = int(os.environ.get("BENCH_NODES", "40"))
SEQUENTIAL_SAMPLE = 10


def measure() -> list[Figure]:
    """Milliseconds per node of a discovery that deploys to every node, both ways in the same run."""
    if reason := why_not():
        return [Figure("key deployment", "not measured", "-", reason)]
    nodes = [create_node() for _ in range(NODES)]
    try:
        with tempfile.TemporaryDirectory(prefix="bench-") as root:
            subnet = create_subnet(Path(root), nodes, validators=1)
            deployed_ms = _deployed_way_ms(subnet, nodes[:SEQUENTIAL_SAMPLE])
            subnet.start()
            subnet.settle()
            first_ms = _discovery_ms(subnet)
            again_ms = _discovery_ms(subnet)
            subnet.stop()
    finally:
        for node in nodes:
            remove_node(node)
    goal = "as few as possible"
    return [
        Figure("key deployment, ssh one after another", f"{deployed_ms:.0f} ms/node", "-", "the deployed method"),
        Figure(
            "key deployment, first discovery", f"{first_ms:.1f} ms/node", goal, f"{deployed_ms / first_ms:.0f} x faster"
        ),
        Figure("key deployment, renewal", f"{again_ms:.1f} ms/node", goal, f"{deployed_ms / again_ms:.0f} x faster"),
    ]


def _discovery_ms(subnet: MinerSubnet) -> float:
    started = time.monotonic()
    offer = asyncio.run(subnet.discover(subnet.validators[0]))
    assert len(offer.nodes) == NODES
    return (time.monotonic() - started) * 1000 / NODES


def _deployed_way_ms(subnet: MinerSubnet, nodes: list[NodeSshd]) -> float:
    """A login with the ``ssh`` program per node that rewrites the file through a temporary one."""
    line = ClientKey.generate("validator-bench").public_line
    command = (
        "umask 077; t=$(mktemp ~/.ssh/authorized_keys.XXXXXX) && "
        "{ cat ~/.ssh/authorized_keys; echo '" + line + "'; } > $t && mv $t ~/.ssh/authorized_keys"
    )
    started = time.monotonic()
    for node in nodes:
        before = node.keys()
        arguments = ["-i", str(subnet.root / "node_key"), "-p", str(node.port), "-o", "BatchMode=yes"]
        arguments += ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]
        subprocess.run(
            ["ssh", "-F", "none", *arguments, "-o", "IdentitiesOnly=yes", f"{node.username}@{node.host}", command],
            check=True,
            timeout=30,
        )
        assert node.keys() != before
    elapsed_ms = (time.monotonic() - started) * 1000 / len(nodes)
    for node in nodes:
        node.authorize(b"".join(one for one in node.keys().splitlines(True) if b"validator-bench" not in one))
    return elapsed_ms
