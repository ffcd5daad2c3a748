"""Which GPUs a node has, asked of ``nvidia-smi``. The parser is pure and expects hostile text."""

from __future__ import annotations

import re
from dataclasses import dataclass

from engine.errors import ProbeFailed
from engine.ssh.pool import NodePool
from engine.ssh.target import NodeTarget

MAX_GPUS = 64
MAX_OUTPUT_BYTES = 256 * 1024
_MAX_TEXT = 96

# The name comes last because it alone may contain commas.
_FIELDS = "index,uuid,memory.total,driver_version,utilization.gpu,temperature.gpu,name"
COMMAND = (
    "command -v nvidia-smi >/dev/null 2>&1 || exit 127; "
    f"nvidia-smi --query-gpu={_FIELDS} --format=csv,noheader,nounits || exit $?; "
    'echo "basilica-header"; nvidia-smi | head -n 12'
)
_HEADER_MARK = "basilica-header"
_CUDA = re.compile(r"CUDA (?:UMD )?Version\s*:\s*(\d{1,3}(?:\.\d{1,3}){0,2})")
_UUID = re.compile(r"(?:GPU|MIG)-[A-Za-z0-9/-]{8,80}")


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU; None is "the tool could not say"."""

    index: int
    uuid: str
    model: str
    memory_mib: int | None
    driver: str
    utilisation_percent: float | None
    temperature_c: float | None


@dataclass(frozen=True, slots=True)
class GpuFacts:
    """All GPUs of a node. ``model``, ``memory_mib`` and ``driver`` are those of the first card, ``memory_mib`` per
    card; utilisation is the mean, temperature the highest."""

    model: str
    count: int
    memory_mib: int | None
    uuids: tuple[str, ...]
    driver: str
    cuda: str
    utilisation_percent: float | None
    temperature_c: float | None
    gpus: tuple[Gpu, ...]

    @property
    def is_uniform(self) -> bool:
        """Whether all cards are of one model."""
        return len({gpu.model for gpu in self.gpus}) <= 1


async def probe_gpus(pool: NodePool, target: NodeTarget, *, timeout_s: float = 20.0) -> GpuFacts:
    """Ask a node for its GPUs. Raises SshFailure, or ProbeFailed when the tool is missing, fails or talks nonsense."""
    result = await pool.run(
        target,
        COMMAND,
        timeout_s=timeout_s,
        max_output_bytes=MAX_OUTPUT_BYTES,
        remote_limit_s=max(1, int(timeout_s)),
    )
    if result.exit_status == 127:
        raise ProbeFailed(
            f"{target.label} has no nvidia-smi", reason="no_tool", hint="install the NVIDIA driver, or fix the PATH"
        )
    if result.exit_status != 0:
        said = clean((result.stderr or result.stdout).decode("utf-8", "replace"))
        raise ProbeFailed(
            f"nvidia-smi on {target.label} failed with status {result.exit_status}: {said or 'no message'}",
            reason="tool_failed",
            hint="the driver may not be loaded; look at dmesg on the node",
        )
    try:
        return parse_gpus(result.stdout.decode("utf-8", "replace"))
    except ProbeFailed as error:
        raise ProbeFailed(f"{target.label}: {error.message}", reason=error.reason, hint=error.hint) from None


def parse_gpus(text: str) -> GpuFacts:
    """Facts from the output of ``COMMAND``; raises ProbeFailed when there is no believable GPU in it."""
    table, _, header = text.partition(_HEADER_MARK)
    gpus = tuple(gpu for line in table.splitlines()[: MAX_GPUS * 4] if (gpu := _parse_gpu(line)))
    if not gpus:
        raise ProbeFailed("nvidia-smi lists no GPU", reason="no_gpu", hint="check the card, its power and the driver")
    if len(gpus) > MAX_GPUS:
        raise ProbeFailed(f"nvidia-smi lists more than {MAX_GPUS} GPUs", reason="unusable")
    uuids = tuple(gpu.uuid for gpu in gpus if gpu.uuid)
    if len(set(uuids)) != len(uuids):
        raise ProbeFailed("nvidia-smi lists one GPU twice", reason="unusable")
    loads = [gpu.utilisation_percent for gpu in gpus if gpu.utilisation_percent is not None]
    heats = [gpu.temperature_c for gpu in gpus if gpu.temperature_c is not None]
    cuda = _CUDA.search(header[:8192])
    return GpuFacts(
        model=gpus[0].model,
        count=len(gpus),
        memory_mib=gpus[0].memory_mib,
        uuids=uuids,
        driver=gpus[0].driver,
        cuda=cuda[1] if cuda else "",
        utilisation_percent=sum(loads) / len(loads) if loads else None,
        temperature_c=max(heats) if heats else None,
        gpus=gpus,
    )


def clean(text: str, limit: int = _MAX_TEXT) -> str:
    """Printable characters only, blanks collapsed, bounded."""
    kept = "".join(char if char.isprintable() else " " for char in text[: limit * 4])
    return " ".join(kept.split())[:limit]


def _parse_gpu(line: str) -> Gpu | None:
    parts = line[:1024].split(",", 6)
    if len(parts) != 7:
        return None
    index, uuid, memory, driver, load, heat, model = (clean(part) for part in parts)
    if not (index.isascii() and index.isdigit() and len(index) <= 4) or not model:
        return None
    total = _number(memory, 1 << 24)
    return Gpu(
        index=int(index),
        uuid=uuid if _UUID.fullmatch(uuid) else "",
        model=model,
        memory_mib=int(total) if total is not None else None,
        driver="" if driver.startswith("[") else driver,
        utilisation_percent=_number(load, 100),
        temperature_c=_number(heat, 200),
    )


def _number(text: str, most: float) -> float | None:
    """A plain non-negative number up to ``most``; None for ``[N/A]``, ``[Not Supported]``, units and nonsense."""
    if not re.fullmatch(r"[0-9]{1,9}(?:\.[0-9]{1,6})?", text):
        return None
    value = float(text)
    return value if value <= most else None
