"""What GPUs a stand-in node shows, and the small file from which its ``nvidia-smi`` reads it."""

from __future__ import annotations

import shlex
import uuid
from dataclasses import dataclass, field


def _one_uuid() -> tuple[str, ...]:
    return (f"GPU-{uuid.uuid4()}",)


@dataclass(frozen=True, slots=True)
class GpuModel:
    """The GPUs of one node; one UUID per GPU.

    ``claims`` is what a forged tool says instead to the questions that its owner has seen, which are the health check's
    and the login's; every other question gets the truth. ``delay_s`` passes before each answer.
    """

    model: str = "NVIDIA H100 80GB HBM3"
    memory_mib: int = 81559
    uuids: tuple[str, ...] = field(default_factory=_one_uuid)
    driver: str = "570.124.06"
    cuda: str = "12.8"
    compute_cap: str = "9.0"
    power_limit_w: int = 700
    claims: GpuModel | None = None
    delay_s: int = 0

    @classmethod
    def for_node(cls, seed: str, index: int) -> GpuModel:
        """A model for the node number ``index``; the same seed gives the same UUIDs."""
        model, memory_mib, compute_cap, power_limit_w, count = _CATALOGUE[index % len(_CATALOGUE)]
        uuids = tuple(f"GPU-{uuid.uuid5(_NAMESPACE, f'{seed}/{index}/{number}')}" for number in range(count))
        return cls(
            model=model, memory_mib=memory_mib, uuids=uuids, compute_cap=compute_cap, power_limit_w=power_limit_w
        )

    def to_text(self) -> str:
        """The file ``gpu.conf``: assignments that a shell reads."""
        values = {
            "MODEL": self.model,
            "MEMORY_MIB": str(self.memory_mib),
            "DRIVER": self.driver,
            "CUDA": self.cuda,
            "UUIDS": " ".join(self.uuids),
            "COMPUTE_CAP": self.compute_cap,
            "POWER_LIMIT_W": str(self.power_limit_w),
        }
        if self.claims is not None:
            values |= {
                "CLAIMED_MODEL": self.claims.model,
                "CLAIMED_MEMORY_MIB": str(self.claims.memory_mib),
                "CLAIMED_COMPUTE_CAP": self.claims.compute_cap,
            }
        if self.delay_s:
            values["DELAY_S"] = str(self.delay_s)
        head = "# What this stand-in node's nvidia-smi answers; read anew at every call. One UUID per GPU.\n"
        return head + "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())


_NAMESPACE = uuid.UUID("6f0d3f0e-6a43-4f62-9d0c-8f4f7d2f5b11")
_CATALOGUE = (
    ("NVIDIA H100 80GB HBM3", 81559, "9.0", 700, 8),
    ("NVIDIA A100-SXM4-80GB", 81920, "8.0", 400, 8),
    ("NVIDIA H100 80GB HBM3", 81559, "9.0", 700, 4),
    ("NVIDIA B200", 183359, "10.0", 1000, 8),
)
