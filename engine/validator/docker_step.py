"""Whether a container on the node sees its GPUs: the command, and the judgement of its output. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection
from typing import Literal

from engine.probes.gpu import clean
from engine.ssh.pool import CommandResult

LABEL = "basilica.security.isolated=true"
_LISTED = re.compile(r"^GPU [0-9]{1,3}: .{0,120}\(UUID: (GPU-[0-9a-fA-F-]{36})\)\s*$", re.MULTILINE)


def docker_gpu_command(image: str, name: str, limit_s: float) -> str:
    """Pull the image if need be and list the GPUs in a container that is gone afterwards."""
    quoted = shlex.quote(image)
    run = f"docker run --rm --name {name} --label {LABEL} --gpus all --network bridge {quoted} nvidia-smi -L"
    return (
        f"docker image inspect {quoted} >/dev/null 2>&1 || docker pull -q {quoted} >/dev/null 2>&1; "
        f"timeout {max(10, int(min(120, limit_s)))} {run}; status=$?; docker rm -f {name} >/dev/null 2>&1; exit $status"
    )


def judge_docker_gpu(result: CommandResult, uuids: Collection[str]) -> tuple[Literal["ok", "failed"], str]:
    """Whether the container saw exactly the node's GPUs."""
    if result.exit_status != 0:
        said = clean((result.stderr or result.stdout).decode("utf-8", "replace"))
        return "failed", f"docker run ended with status {result.exit_status}: {said or 'no message'}"
    seen = {found.lower() for found in _LISTED.findall(result.stdout.decode("utf-8", "replace")[:65536])}
    if seen != {one.lower() for one in uuids}:
        return "failed", f"a container sees {len(seen)} GPUs, the node shows {len(uuids)}, and not the same ones"
    return "ok", f"a container sees all {len(seen)} GPUs"
