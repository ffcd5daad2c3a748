"""Whether a container on a node sees its GPUs: the guide's own command, on an image that is there already."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from engine.probes.gpu import clean
from engine.ssh.pool import NodePool
from engine.ssh.target import NodeTarget

IMAGES = (
    "nvidia/cuda:12.8.0-base-ubuntu24.04",
    "nvidia/cuda:12.8.0-base-ubuntu22.04",
    "nvidia/cuda:12.8.0-runtime-ubuntu22.04",
)
Outcome = Literal["ok", "no_image", "failed", "unsupported"]


@dataclass(frozen=True, slots=True)
class ContainerFacts:
    """What came out; ``said`` is the container's or Docker's own text."""

    outcome: Outcome
    said: str = ""
    image: str = ""


_LIST = " ".join(IMAGES)
_SCRIPT = f"""for image in {_LIST}; do
  docker image inspect "$image" >/dev/null 2>&1 && break
  image=
done
[ -n "$image" ] || {{ echo basilica-no-image; exit 0; }}
echo "basilica-image $image"
docker run --rm --gpus all --network none --pull never "$image" nvidia-smi -L 2>&1 | head -c 16384
"""


async def probe_container(pool: NodePool, target: NodeTarget, *, timeout_s: float = 60.0) -> ContainerFacts:
    """Run one throw-away container without network; pulls nothing. Raises SshFailure."""
    result = await pool.run(
        target, _SCRIPT, timeout_s=timeout_s, max_output_bytes=65536, remote_limit_s=max(1, int(timeout_s))
    )
    return parse_container(result.stdout.decode("utf-8", "replace"))


def parse_container(text: str) -> ContainerFacts:
    """What the script's output means."""
    lines = text.splitlines()
    image = next((line.split()[-1] for line in lines if line.startswith("basilica-image ")), "")
    if not image:
        return ContainerFacts("no_image")
    body = [line for line in lines if not line.startswith("basilica-")]
    said = clean(" ".join(body), 240)
    if any(line.startswith("GPU 0:") for line in body):
        return ContainerFacts("ok", said, image)
    return ContainerFacts("failed", said or "no output", image)
