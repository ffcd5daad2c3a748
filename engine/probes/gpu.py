"""Which GPUs a node has and how they are, asked of ``nvidia-smi``. The parsers are pure and expect hostile text.

Two questions: ``probe_gpus`` for a visitor (one look, CUDA version included) and ``probe_gpu_table`` for a health
check (everything about each card, one process on the node).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal

from engine.errors import ProbeFailed
from engine.ssh.pool import CommandResult, NodePool
from engine.ssh.target import NodeTarget

MAX_GPUS = 64
MAX_OUTPUT_BYTES = 256 * 1024
TIMED_OUT = 124
"""The status with which coreutils' ``timeout`` says that it ended the command."""
_MAX_TEXT = 96

Detail = Literal["all", "basic"]
"""How much a query asks for: drivers that do not know one field of it refuse the whole query."""

# The name comes last because it alone may contain commas.
_BASIC = ("index", "uuid", "memory.total", "driver_version", "utilization.gpu", "temperature.gpu", "name")
_MORE = (
    "pci.bus_id",
    "compute_cap",
    "memory.used",
    "power.draw",
    "power.limit",
    "clocks.sm",
    "clocks.mem",
    "ecc.errors.uncorrected.volatile.total",
)


@dataclass(frozen=True, slots=True)
class Query:
    """What a node understands. ``has_timeout``: it has coreutils' ``timeout``, which ends a tool that hangs in the
    driver after our side gave up."""

    detail: Detail = "all"
    has_timeout: bool = True


FIRST_QUERY = Query()
FIELDS: dict[Detail, tuple[str, ...]] = {"basic": _BASIC, "all": (*_BASIC[:-1], *_MORE, "name")}
COMMAND = (
    "command -v nvidia-smi >/dev/null 2>&1 || exit 127; "
    f"nvidia-smi --query-gpu={','.join(_BASIC)} --format=csv,noheader,nounits || exit $?; "
    'echo "basilica-header"; nvidia-smi | head -n 12'
)
_HEADER_MARK = "basilica-header"
_CUDA = re.compile(r"CUDA (?:UMD )?Version\s*:\s*(\d{1,3}(?:\.\d{1,3}){0,2})")
_UUID = re.compile(r"(?:GPU|MIG)-[A-Za-z0-9/-]{8,80}")
_PCI = re.compile(r"[0-9A-Fa-f]{4,8}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.[0-9A-Fa-f]")
_COMPUTE = re.compile(r"[0-9]{1,2}\.[0-9]{1,2}")


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
    pci_id: str = ""
    compute_capability: str = ""
    memory_used_mib: int | None = None
    power_w: float | None = None
    power_limit_w: float | None = None
    sm_clock_mhz: int | None = None
    memory_clock_mhz: int | None = None
    ecc_errors: int | None = None
    """Uncorrected since the driver was loaded; None for cards without ECC or with ECC turned off."""


@dataclass(frozen=True, slots=True)
class GpuFacts:
    """All GPUs of a node. ``model``, ``memory_mib``, ``driver`` and ``compute_capability`` are those of the first card,
    ``memory_mib`` per card; utilisation is the mean, temperature the highest, ECC errors the sum."""

    model: str
    count: int
    memory_mib: int | None
    uuids: tuple[str, ...]
    driver: str
    cuda: str
    utilisation_percent: float | None
    temperature_c: float | None
    gpus: tuple[Gpu, ...]
    compute_capability: str = ""
    ecc_errors: int | None = None

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
    _check_status(target, result)
    try:
        return parse_gpus(result.stdout.decode("utf-8", "replace"))
    except ProbeFailed as error:
        raise _named(target, error) from None


async def probe_gpu_table(
    pool: NodePool, target: NodeTarget, *, query: Query = FIRST_QUERY, timeout_s: float = 10.0
) -> tuple[GpuFacts, Query]:
    """Ask a node how each GPU is; also returns the query that the node understands, for the next time.

    The command is words only: no shell on the node has to start anything but the tool.
    Raises SshFailure, or ProbeFailed as ``probe_gpus`` does.
    """
    words = f"nvidia-smi --query-gpu={','.join(FIELDS[query.detail])} --format=csv,noheader,nounits"
    if query.has_timeout:
        words = f"timeout {max(1, int(timeout_s))} {words}"
    result = await pool.run(target, words, timeout_s=timeout_s, max_output_bytes=MAX_OUTPUT_BYTES)
    text = result.stdout.decode("utf-8", "replace")
    try:
        is_refused = query.detail == "all" and "not a valid field" in text
        if not is_refused and not (result.exit_status == 127 and query.has_timeout):
            _check_status(target, result)
            return parse_table(text, query.detail), query
    except ProbeFailed as error:
        if query.detail == "basic" or error.reason != "no_gpu" or not text.strip():
            raise _named(target, error) from None
    simpler = replace(query, has_timeout=False) if result.exit_status == 127 else replace(query, detail="basic")
    return await probe_gpu_table(pool, target, query=simpler, timeout_s=timeout_s)


def parse_gpus(text: str) -> GpuFacts:
    """Facts from the output of ``COMMAND``; raises ProbeFailed when there is no believable GPU in it."""
    table, _, header = text.partition(_HEADER_MARK)
    return parse_table(table, "basic", cuda=parse_cuda(header))


def parse_cuda(header: str) -> str:
    """The CUDA version in the first lines of a plain ``nvidia-smi``; empty when it is not there."""
    found = _CUDA.search(header[:8192])
    return found[1] if found else ""


def parse_table(table: str, detail: Detail, *, cuda: str = "") -> GpuFacts:
    """Facts from rows of ``FIELDS[detail]``; raises ProbeFailed when there is no believable GPU in them."""
    gpus = tuple(gpu for line in table.splitlines()[: MAX_GPUS * 4] if (gpu := _parse_gpu(line, detail)))
    if not gpus:
        raise ProbeFailed("nvidia-smi lists no GPU", reason="no_gpu", hint="check the card, its power and the driver")
    if len(gpus) > MAX_GPUS:
        raise ProbeFailed(f"nvidia-smi lists more than {MAX_GPUS} GPUs", reason="unusable")
    uuids = tuple(gpu.uuid for gpu in gpus if gpu.uuid)
    if len(set(uuids)) != len(uuids):
        raise ProbeFailed("nvidia-smi lists one GPU twice", reason="unusable")
    loads = [gpu.utilisation_percent for gpu in gpus if gpu.utilisation_percent is not None]
    heats = [gpu.temperature_c for gpu in gpus if gpu.temperature_c is not None]
    errors = [gpu.ecc_errors for gpu in gpus if gpu.ecc_errors is not None]
    return GpuFacts(
        model=gpus[0].model,
        count=len(gpus),
        memory_mib=gpus[0].memory_mib,
        uuids=uuids,
        driver=gpus[0].driver,
        cuda=cuda,
        utilisation_percent=sum(loads) / len(loads) if loads else None,
        temperature_c=max(heats) if heats else None,
        gpus=gpus,
        compute_capability=gpus[0].compute_capability,
        ecc_errors=sum(errors) if errors else None,
    )


def clean(text: str, limit: int = _MAX_TEXT) -> str:
    """Printable characters only, blanks collapsed, bounded."""
    kept = "".join(char if char.isprintable() else " " for char in text[: limit * 4])
    return " ".join(kept.split())[:limit]


def canonical_uuid(uuid: str) -> str:
    """As the driver writes it, in lower case after the kind: a node that writes it otherwise shows no other GPU."""
    kind, dash, rest = uuid.partition("-")
    return f"{kind}{dash}{rest.lower()}"


def _check_status(target: NodeTarget, result: CommandResult) -> None:
    if result.exit_status == 127:
        raise ProbeFailed(
            f"{target.label} has no nvidia-smi", reason="no_tool", hint="install the NVIDIA driver, or fix the PATH"
        )
    if result.exit_status == TIMED_OUT:
        raise ProbeFailed(
            f"nvidia-smi on {target.label} did not finish in time",
            reason="tool_timeout",
            hint="a driver that hangs makes it slow; try it on the node, and look at dmesg there",
        )
    if result.exit_status != 0:
        said = clean((result.stderr or result.stdout).decode("utf-8", "replace"))
        raise ProbeFailed(
            f"nvidia-smi on {target.label} failed with status {result.exit_status}: {said or 'no message'}",
            reason="tool_failed",
            hint="the driver may not be loaded; look at dmesg on the node",
        )


def _named(target: NodeTarget, error: ProbeFailed) -> ProbeFailed:
    if target.label in error.message:
        return error
    return ProbeFailed(f"{target.label}: {error.message}", reason=error.reason, hint=error.hint)


def _parse_gpu(line: str, detail: Detail) -> Gpu | None:
    fields = FIELDS[detail]
    parts = line[:1024].split(",", len(fields) - 1)
    if len(parts) != len(fields):
        return None
    said = {name: clean(part) for name, part in zip(fields, parts, strict=True)}
    index, model = said["index"], said["name"]
    if not (index.isascii() and index.isdigit() and len(index) <= 4) or not model:
        return None
    driver, pci = said["driver_version"], said.get("pci.bus_id", "")
    compute = said.get("compute_cap", "")
    return Gpu(
        index=int(index),
        uuid=canonical_uuid(said["uuid"]) if _UUID.fullmatch(said["uuid"]) else "",
        model=model,
        memory_mib=_whole(said["memory.total"], 1 << 24),
        driver="" if driver.startswith("[") else driver,
        utilisation_percent=_number(said["utilization.gpu"], 100),
        temperature_c=_number(said["temperature.gpu"], 200),
        pci_id=pci if _PCI.fullmatch(pci) else "",
        compute_capability=compute if _COMPUTE.fullmatch(compute) else "",
        memory_used_mib=_whole(said.get("memory.used", ""), 1 << 24),
        power_w=_number(said.get("power.draw", ""), 10_000),
        power_limit_w=_number(said.get("power.limit", ""), 10_000),
        sm_clock_mhz=_whole(said.get("clocks.sm", ""), 100_000),
        memory_clock_mhz=_whole(said.get("clocks.mem", ""), 100_000),
        ecc_errors=_whole(said.get("ecc.errors.uncorrected.volatile.total", ""), 1 << 31),
    )


def _whole(text: str, most: float) -> int | None:
    value = _number(text, most)
    return None if value is None else int(value)


def _number(text: str, most: float) -> float | None:
    """A plain non-negative number up to ``most``; None for ``[N/A]``, ``[Not Supported]``, units and nonsense."""
    if not re.fullmatch(r"[0-9]{1,10}(?:\.[0-9]{1,6})?", text):
        return None
    value = float(text)
    return value if value <= most else None
