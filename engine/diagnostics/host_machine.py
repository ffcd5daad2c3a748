"""Checks of the machine: system, cores, memory, disk, open files, clock."""

from __future__ import annotations

from engine.diagnostics.host_facts import HostFacts, host_check
from engine.diagnostics.model import Cause, Check, Judgement, fail, ok, skip, warn

GIB = 1 << 30
MEMORY_MIN_BYTES = int(0.9 * GIB)
NODES_PER_CORE = 500
FILES_SPARE = 200
RELEASES = {"ubuntu": (22, 4), "debian": (11, 0)}
"""What the network's guide asks for, and the Debian of the same age."""


def judge_os(facts: HostFacts) -> Judgement:
    """Linux, not older than the guide asks."""
    if facts.system != "Linux":
        return fail("not_linux", f"this is {facts.system}")
    oldest = RELEASES.get(facts.os_id)
    version = tuple(int(part) for part in facts.os_version.split(".")[:2] if part.isdigit())
    if oldest is not None and version and version < oldest[: len(version)]:
        return warn("old_release", facts.os_name)
    return ok(facts.os_name or "Linux")


def judge_cores(facts: HostFacts) -> Judgement:
    """One core serves hundreds of nodes; the guide's eight are for the deployed miner."""
    needed = 1 + facts.nodes // NODES_PER_CORE
    if facts.cores < needed:
        return warn("few", f"{facts.cores} cores for {facts.nodes} nodes; {needed} are needed")
    return ok(f"{facts.cores} cores (the network's guide asks for 8; this engine needs {needed})")


def judge_memory(facts: HostFacts) -> Judgement:
    """A thousand nodes take about 600 MB."""
    if not facts.memory_bytes:
        return skip("the kernel does not tell")
    said = f"{facts.memory_bytes / GIB:.1f} GiB"
    if facts.memory_bytes < MEMORY_MIN_BYTES:
        return warn("little", said)
    return ok(f"{said} (the network's guide asks for 16; this engine needs 1)")


def judge_disk(facts: HostFacts) -> Judgement:
    """Grants and events must be possible to write."""
    free = facts.disk_free_bytes
    if free is None:
        return skip(f"{facts.data_dir} cannot be looked at")
    said = f"{free / 1e9:.1f} GB free in {facts.data_dir}"
    if free < facts.disk_min_bytes:
        return fail("full", said, f"alerts.host_disk_min_gb is {facts.disk_min_bytes / 1e9:g}")
    return ok(said)


def judge_python(facts: HostFacts) -> Judgement:
    """The Python that runs this also runs the engine."""
    return ok(f"Python {facts.python}")


def judge_files(facts: HostFacts) -> Judgement:
    """A connection per node, and the door's."""
    needed = FILES_SPARE + 2 * facts.nodes
    said = f"{facts.files_soft} open files are allowed; {facts.nodes} nodes need {needed}"
    if facts.files_soft < needed:
        return fail("low", said, f"the hard limit is {facts.files_hard}")
    return ok(said)


def judge_clock(facts: HostFacts) -> Judgement:
    """By the nodes and the chain, because a clock cannot judge itself."""
    offset = facts.offset_s
    others = f"{len(facts.skews_s)} nodes" if facts.skews_s else "the chain's endpoint"
    if offset is not None and abs(offset) > facts.skew_max_s:
        side = "ahead of" if offset > 0 else "behind"
        return fail("off", f"this clock is {abs(offset):.0f} s {side} {others}")
    if offset is not None:
        synced = {True: "kept in time", False: "not kept in time by this kernel", None: "unknown to the kernel"}
        return ok(f"{offset:+.1f} s against {others}; {synced[facts.kernel_synced]}")
    if facts.kernel_synced is False:
        return warn(
            "unsynchronised", "the kernel says that nothing keeps the clock, and nobody was there to compare with"
        )
    if facts.kernel_synced is None:
        return skip("nobody was there to compare with")
    return ok("kept in time")


CHECKS: tuple[Check[HostFacts], ...] = (
    host_check(
        "os",
        "The operating system is recent",
        "old systems have old OpenSSH and TLS",
        judge_os,
        Cause("not_linux", "the engine runs on Linux only", advice="use a Linux host"),
        Cause("old_release", "the release is older than the network's guide asks", advice="upgrade the system"),
    ),
    host_check(
        "cores",
        "There are enough cores",
        "answers to validators come late",
        judge_cores,
        Cause("few", "too few cores for the fleet", advice="add cores, or split the fleet over two miners"),
    ),
    host_check(
        "memory",
        "There is enough memory",
        "the kernel kills the engine when none is left",
        judge_memory,
        Cause("little", "less memory than an engine needs", advice="add memory or swap"),
    ),
    host_check(
        "disk",
        "The data directory has space",
        "without space grants cannot be written, so nobody is let in",
        judge_disk,
        Cause("full", "the file system is nearly full", advice="free space there, or move engine.data_dir"),
    ),
    host_check("python", "Python is recent", "the engine needs 3.11", judge_python),
    host_check(
        "open_files",
        "Enough files may be open",
        "every node and every validator is a connection",
        judge_files,
        Cause(
            "low",
            "the limit of open files is too low for the fleet",
            advice="set LimitNOFILE=65536 in the unit, or ulimit -n in the shell that starts the engine",
        ),
    ),
    host_check(
        "clock",
        "The clock is right",
        "validators refuse signatures that are five minutes off",
        judge_clock,
        Cause("off", "this host's clock is off, by what everybody else says", ("host.ntp",)),
        Cause("unsynchronised", "nothing keeps the clock in time", ("host.ntp",)),
    ),
)
