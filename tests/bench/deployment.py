"""Putting one key on many nodes: ours against the deployed way, one ``ssh`` process per node, one after another."""

from __future__ import annotations

import asyncio
import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from engine.localnet.engines import has_settled
from engine.ssh.keys import ClientKey
from tests.bench import Figure
from tests.support.miner_subnet import MinerSubnet, create_subnet
from tests.support.slow_link import slow_link
from tests.support.sshd import NodeSshd, create_node, remove_node, why_not

NODES = int(os.environ.get("BENCH_NODES", "100"))
ROUND_TRIPS_MS = (0, 40)
STARTS_AT_ONCE = 8
ENROLMENT_S = 900.0
"""Several logins on each node before the first discovery; on a busy machine of two cores that takes minutes."""


def measure() -> list[Figure]:
    """Seconds until the key is on every node, both ways over the same real sshd nodes, and how many times faster."""
    if reason := why_not():
        return [Figure("key deployment", None, note=reason)]
    nodes: list[NodeSshd] = []
    figures: list[Figure] = []
    try:
        with ThreadPoolExecutor(STARTS_AT_ONCE) as starts:
            started = [starts.submit(create_node) for _ in range(NODES)]
        nodes += [one.result() for one in started if one.exception() is None]
        nodes += [create_node() for _ in range(NODES - len(nodes))]  # two took the same free port: again, in turn
        for round_trip_ms in ROUND_TRIPS_MS:
            figures += _over(nodes, round_trip_ms)
    finally:
        for node in nodes:
            remove_node(node)
    return figures


def _over(nodes: Sequence[NodeSshd], round_trip_ms: int) -> list[Figure]:
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as root,
        slow_link([node.port for node in nodes], round_trip_ms) as ports,
    ):
        entries = [{"host": "127.0.0.1", "port": port, "username": nodes[0].username} for port in ports]
        subnet = create_subnet(
            Path(root),
            nodes,
            validators=1,
            node_entries=entries,
            # As shipped, not as tests hurry; the deadline is for a machine that is all of its own nodes at once.
            access={"node_deadline": 60, "reconcile_interval": 30},
            node_management={"health_check_interval": 60},
        )
        deployed_s = _deployed_way_s(subnet, nodes, ports)
        subnet.start()
        try:
            started = time.monotonic()
            asyncio.run(subnet.until(has_settled, seconds=ENROLMENT_S))
            enrolled_s = time.monotonic() - started
            first_s = _discovery_s(subnet, nodes)
            again_s = _discovery_s(subnet, nodes)
        finally:
            subnet.stop()
    # Relays delay all but the three packets that open a connection, which every ssh process of the deployed way sends.
    where = f"{len(nodes)} sshd nodes, {round_trip_ms} ms away"
    return [
        Figure(f"key on {where}: ssh, one after another", deployed_s, "s", note="the deployed method"),
        Figure(f"{where}: enrolled", enrolled_s, "s", note="once in a node's life: measured, proved by two logins"),
        Figure(f"key on {where}: a first discovery", first_s, "s", note="over standing connections"),
        Figure(f"key on {where}: times faster", deployed_s / first_s, "x"),
        Figure(f"key on {where}: a renewal, times faster", deployed_s / again_s, "x", note=f"{again_s:.2f} s"),
    ]


def _discovery_s(subnet: MinerSubnet, nodes: Sequence[NodeSshd]) -> float:
    started = time.monotonic()
    offer = asyncio.run(subnet.discover(subnet.validators[0]))
    elapsed_s = time.monotonic() - started
    assert len(offer.nodes) == len(nodes), f"{len(offer.nodes)} of {len(nodes)} nodes were offered"
    blob = subnet.validators[0].key.public_line.split()[1].encode()
    missing = [node.port for node in nodes if blob not in node.keys()]  # noqa: SIM118 - a file, no dict
    assert not missing, f"the key is not on {missing}"
    return elapsed_s


def _deployed_way_s(subnet: MinerSubnet, nodes: Sequence[NodeSshd], ports: Sequence[int]) -> float:
    """A login with the ``ssh`` program per node that rewrites the file through a temporary one."""
    line = ClientKey.generate("validator-bench").public_line
    command = (
        "umask 077; t=$(mktemp ~/.ssh/authorized_keys.XXXXXX) && "
        "{ cat ~/.ssh/authorized_keys; echo '" + line + "'; } > $t && mv $t ~/.ssh/authorized_keys"
    )
    options = ["BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR"]
    words = [word for option in (*options, "IdentitiesOnly=yes") for word in ("-o", option)]
    started = time.monotonic()
    for node, port in zip(nodes, ports, strict=True):
        target = ["-i", str(subnet.root / "node_key"), "-p", str(port), f"{node.username}@127.0.0.1"]
        subprocess.run(["ssh", "-F", "none", *words, *target, command], check=True, timeout=30)
    elapsed_s = time.monotonic() - started
    for node in nodes:
        before = node.keys()
        assert b"validator-bench" in before
        node.authorize(b"".join(one for one in before.splitlines(True) if b"validator-bench" not in one))
    return elapsed_s
