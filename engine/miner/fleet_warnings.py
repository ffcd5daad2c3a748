"""What an operator should put right on a node that answers, one sentence each. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from engine.probes.gpu import GpuFacts
from engine.probes.host import HostFacts
from engine.scores.categories import DOCUMENTED_REWARDED, documented_category
from engine.scores.versions import version_reasons

WANTED_DISK_BYTES = 10**12
"""The documents ask for about a terabyte free for images and volumes."""
_TERABYTE = 10**12
MAX_SKEW_S = 30.0
NAMED_SHARERS = 3


def node_warnings(
    gpus: GpuFacts | None,
    host: HostFacts | None,
    *,
    cuda: str = "",
    declared_gpus: int | None = None,
    shared: Mapping[str, tuple[str, ...]] | None = None,
    host_trouble: str = "",
) -> tuple[str, ...]:
    """Sentences, the costly ones first. Only what is known to be wrong: a fact that nobody told warns of nothing."""
    found = [*gpu_doubts(gpus, host, shared)]
    if gpus is not None:
        found += _gpu_warnings(gpus, cuda, declared_gpus)
    if host_trouble:
        found.append(f"Docker, disk and sshd could not be asked about: {host_trouble}")
    if host is not None:
        found += _host_warnings(host)
    return tuple(found)


def gpu_doubts(
    gpus: GpuFacts | None, host: HostFacts | None, shared: Mapping[str, tuple[str, ...]] | None = None
) -> tuple[str, ...]:
    """Why the node's GPUs may not be what they seem; a validator that notices bans the node."""
    by_sharers: dict[tuple[str, ...], list[str]] = {}
    for uuid, nodes in (shared or {}).items():
        by_sharers.setdefault(nodes, []).append(uuid)
    found = [_also_on(nodes, uuids) for nodes, uuids in by_sharers.items()]
    if gpus is not None and host is not None and host.gpu_models:
        said, listed = {gpu.model for gpu in gpus.gpus}, set(host.gpu_models)
        if said != listed:
            found.insert(
                0,
                f"nvidia-smi lists {_models(listed)}, a query says {_models(said)}: it contradicts itself",
            )
    return tuple(found)


def _also_on(nodes: tuple[str, ...], uuids: list[str]) -> str:
    if len(uuids) == 1:
        return f"one of its GPUs is also on {_some(nodes)}: {uuids[0]}"
    return f"{len(uuids)} of its GPUs are also on {_some(nodes)}: {uuids[0]} and {len(uuids) - 1} more"


def _models(models: set[str]) -> str:
    """What tells them apart comes first where a line is short."""
    return ", ".join(sorted(model.removeprefix("NVIDIA ") for model in models))


def _some(nodes: tuple[str, ...]) -> str:
    more = len(nodes) - NAMED_SHARERS
    return ", ".join(nodes[:NAMED_SHARERS]) + (f" and {more} more" if more > 0 else "")


def _gpu_warnings(gpus: GpuFacts, cuda: str, declared: int | None) -> list[str]:
    found = []
    if gpus.ecc_errors:
        bad = ", ".join(str(gpu.index) for gpu in gpus.gpus if gpu.ecc_errors)
        found.append(f"{gpus.ecc_errors} uncorrected ECC errors (GPU {bad})")
    if declared is not None and declared != gpus.count:
        found.append(f"{gpus.count} GPUs answer, {declared} are declared in the configuration")
    if not gpus.is_uniform:
        found.append("its GPUs are of several models")
    if documented_category(gpus.model) not in DOCUMENTED_REWARDED:
        found.append(f"{gpus.model} is validated but not rewarded; rewarded are {', '.join(DOCUMENTED_REWARDED)}")
    found += [reason for reason in version_reasons(gpus.compute_capability, cuda) if "not known" not in reason]
    return found


def _host_warnings(host: HostFacts) -> list[str]:
    found = []
    if host.docker_ok is False:
        found.append(f"Docker does not work for this account: {host.docker_error}")
    if host.nvidia_runtime_ok is False:
        found.append("Docker has no NVIDIA runtime")
    if host.disk_free_bytes is not None and host.disk_free_bytes < WANTED_DISK_BYTES:
        free = host.disk_free_bytes / _TERABYTE
        found.append(f"{free:.2f} TB free on {host.disk_path or 'its disk'}, 1 TB is wanted")
    if host.clock_skew_s is not None and abs(host.clock_skew_s) > MAX_SKEW_S:
        found.append(f"its clock is {host.clock_skew_s:+.0f} s off")
    if host.sshd.password_login:
        found.append("sshd allows password logins")
    return found
