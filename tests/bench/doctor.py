"""The doctor over a fleet against the published way: one ``ssh`` per question and node, one node after another.

The questions are those of the network's guide for a manual test of all nodes (login, GPUs, Docker with GPUs, storage)
and of its troubleshooting part (CUDA, compute capability, key mode); the doctor asks them and about twenty more.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import tempfile
import time
from pathlib import Path

from engine.clock import SystemClock
from engine.config import MinerConfig
from engine.diagnostics.doctor import Doctor, Tools
from engine.diagnostics.model import Report, Scope, Verdict
from engine.diagnostics.patient import patient_of
from engine.ssh.keys import ClientKey
from tests.bench import Figure
from tests.support.gpu_tools import furnish
from tests.support.sshd import NodeSshd, create_node, remove_node, why_not

NODES = int(os.environ.get("BENCH_NODES", "50"))
QUESTIONS = (
    "true",
    "nvidia-smi",
    "nvidia-smi --query-gpu=index,name,driver_version --format=csv",
    "nvidia-smi --query-gpu=compute_cap --format=csv,noheader",
    "docker info --format '{{json .Runtimes}}'",
    "df -h / | tail -1",
    "grep -c . ~/.ssh/authorized_keys",
)


def measure() -> list[Figure]:
    """Seconds for all nodes, both ways, on the same nodes in the same run."""
    if reason := why_not():
        return [Figure("doctor", None, note=reason)]
    nodes = [create_node() for _ in range(NODES)]
    try:
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            key = ClientKey.generate("bench")
            path = Path(folder, "key")
            key.save(path)
            for node in nodes:
                furnish(node)
                node.authorize(key.public_line + "\n")
            published_s = _published_way(path, nodes)
            report = asyncio.run(_doctor(path, nodes))
    finally:
        for node in nodes:
            remove_node(node)
    assert report.count(Verdict.OK) > 15 * NODES, "the nodes are not healthy"
    checks = len(report.results) // NODES
    return [
        Figure(f"published checks, {NODES} nodes", published_s, "s", note=f"{len(QUESTIONS)} questions per node"),
        Figure(f"doctor, {NODES} nodes", report.seconds, "s", note=f"{checks} checks per node"),
        Figure("doctor against published checks", published_s / report.seconds, "x", note="faster, same nodes"),
    ]


async def _doctor(key: Path, nodes: list[NodeSshd]) -> Report:
    config = MinerConfig.model_validate(
        {
            "ssh_session": {"miner_node_key_path": str(key)},
            "engine": {"data_dir": str(key.parent)},
            "alerts": {"node_disk_min_gb": 1},
            "node_management": {
                "nodes": [{"host": one.host, "port": one.port, "username": one.username} for one in nodes]
            },
        }
    )
    return await Doctor(patient_of(config), Tools(SystemClock())).examine({Scope.NODE})


def _published_way(key: Path, nodes: list[NodeSshd]) -> float:
    started = time.monotonic()
    for node in nodes:
        arguments = ["-i", str(key), "-p", str(node.port), "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes"]
        arguments += ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]
        for question in QUESTIONS:
            subprocess.run(
                ["ssh", "-F", "none", *arguments, f"{node.username}@{node.host}", question],
                check=True,
                timeout=30,
                capture_output=True,
            )
    return time.monotonic() - started
