"""What a GPU node has on its PATH, for nodes over real sshd: the localnet's nvidia-smi and docker, or an enemy's."""

from __future__ import annotations

from pathlib import Path

from engine.localnet.gpu_model import GpuModel
from engine.validator.full import FullSettings
from engine.validator.product import ProductTask
from tests.support.sshd import NodeSshd

STAND_IN = Path(__file__).parents[2] / "engine" / "localnet" / "stand_in"
ALWAYS = frozenset({"host_key", "ssh_login", "gpu", "attestation"})


def furnish(node: NodeSshd, gpu: GpuModel | None = None) -> GpuModel:
    """Give a node GPUs and Docker."""
    gpu = gpu or GpuModel()
    (node.root / "gpu.conf").write_text(gpu.to_text())
    for name in ("nvidia-smi", "docker"):
        put_tool(node, name, (STAND_IN / name).read_text())
    return gpu


def keep_temporary(node: NodeSshd) -> None:
    """Let the node's temporary directories lie in its home, which goes with it, whatever kills their owner."""
    put_tool(node, "mktemp", '#!/bin/sh\nexec /usr/bin/mktemp -d "$HOME/basilica.XXXXXXXXXX"\n')


def put_tool(node: NodeSshd, name: str, script: str) -> None:
    """Put a program first on the node's PATH."""
    path = node.tools / name
    path.write_text(script)
    path.chmod(0o755)


def settings(*, is_local: bool = True, gates: frozenset[str] = ALWAYS, timeout_s: float = 20.0) -> FullSettings:
    """A full verification that asks for little."""
    return FullSettings(
        docker_image="nvidia/cuda:12.8.0-runtime-ubuntu22.04",
        docker_timeout_s=10.0,
        min_storage_bytes=1 << 20,
        attestation=True,
        attestation_timeout_s=timeout_s,
        task=ProductTask(64, 8),
        gates=gates,
        command_timeout_s=20.0,
        is_local=is_local,
    )
