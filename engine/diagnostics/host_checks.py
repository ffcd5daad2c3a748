"""Checks of this host: what the miner needs of the machine it runs on, and whether validators reach it."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from engine.diagnostics.model import Cause, Check, Judgement, Scope, fail, ok, skip, warn

GIB = 1 << 30
MEMORY_MIN_BYTES = int(0.9 * GIB)
NODES_PER_CORE = 500
FILES_SPARE = 200
NODE_AGREEMENT_S = 5.0
RELEASES = {"ubuntu": (22, 4), "debian": (11, 0)}
"""What the network's guide asks for, and the Debian of the same age."""

KeyTrouble = Literal["", "missing", "unreadable", "open_to_others", "passphrase", "not_a_key"]


@dataclass(frozen=True, slots=True)
class PortFacts:
    """One port that the engine wants. ``holder`` is who listens there, ``is_ours`` whether that is an engine."""

    key: str
    host: str
    port: int
    is_free: bool
    trouble: str = ""
    """``taken``, ``forbidden``, ``foreign`` (the address is not this host's), or empty."""
    holder: str = ""
    is_ours: bool = False
    free: int | None = None
    """Another port that is free."""


@dataclass(frozen=True, slots=True)
class AxonView:
    """The advertised address as a node saw it."""

    address: str = ""
    peer: str = ""
    outcome: str = ""
    bound_host: str = ""


@dataclass(frozen=True)
class HostFacts:
    """This host at one moment."""

    os_id: str = ""
    os_version: str = ""
    os_name: str = ""
    system: str = "Linux"
    cores: int = 1
    memory_bytes: int = 0
    python: str = ""
    nodes: int = 0
    data_dir: str = ""
    disk_free_bytes: int | None = None
    disk_min_bytes: int = 0
    files_soft: int = 0
    files_hard: int = 0
    kernel_synced: bool | None = None
    skews_s: tuple[float, ...] = ()
    """Clocks of the nodes minus ours."""
    chain_offset_s: float | None = None
    """The chain endpoint's clock minus ours, to the second."""
    skew_max_s: float = 30.0
    ports: tuple[PortFacts, ...] = ()
    unresolved: tuple[str, ...] = ()
    resolved: tuple[str, ...] = ()
    nameservers: tuple[str, ...] = ()
    firewall: tuple[str, ...] | None = None
    """Rules that this user may read; None when it may read none."""
    public_ports: tuple[int, ...] = ()
    key_path: str = ""
    key_trouble: KeyTrouble = ""
    key_said: str = ""
    old_miner: tuple[str, ...] = ()
    old_unit: str = ""
    axon: AxonView = field(default_factory=AxonView)
    is_miner: bool = True

    @property
    def offset_s(self) -> float | None:
        """How far this host's clock is off by what others say: the nodes' median where they agree, else the chain's."""
        if len(self.skews_s) >= 2:
            middle = statistics.median(self.skews_s)
            if all(abs(one - middle) <= NODE_AGREEMENT_S for one in self.skews_s):
                return -middle
        return -self.chain_offset_s if self.chain_offset_s is not None else None


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


def judge_ports(facts: HostFacts) -> Judgement:
    """Every port is free, or held by the engine itself."""
    for port in facts.ports:
        if port.is_free or port.is_ours:
            continue
        said = f"{port.key} {port.host}:{port.port}"
        if port.trouble == "forbidden":
            return fail(
                "forbidden", f"{said}: only root may use ports below 1024", key=port.key, free=str(port.free or "")
            )
        if port.trouble == "foreign":
            return fail("foreign", f"{said}: that address is not this host's")
        cause = "deployed_miner" if _is_old_miner(port.holder) else "taken"
        same = "same" if port.port in facts.public_ports else ""
        return fail(
            cause,
            f"{said} is held by {port.holder or 'a process that this user may not see'}",
            key=port.key,
            free=str(port.free or ""),
            published=same,
            old_unit=facts.old_unit,
        )
    return ok(*(f"{one.key} {one.port}: {'our engine' if one.is_ours else 'free'}" for one in facts.ports))


def judge_dns(facts: HostFacts) -> Judgement:
    """Names of the chain and of nodes have addresses."""
    if not facts.unresolved:
        return ok(f"{len(facts.resolved)} names have addresses" if facts.resolved else "no names are used")
    if not facts.nameservers:
        return fail(
            "no_resolver", f"no address for {', '.join(facts.unresolved[:5])}", "/etc/resolv.conf names no server"
        )
    if not facts.resolved:
        return fail(
            "silent",
            f"no address for {', '.join(facts.unresolved[:5])}",
            f"name servers: {', '.join(facts.nameservers[:3])}",
        )
    return fail("unknown", f"no address for {', '.join(facts.unresolved[:5])}, while others have one")


def judge_firewall(facts: HostFacts) -> Judgement:
    """A hint only: rules that would drop the axon's port."""
    if not facts.is_miner:
        return skip("a validator serves no axon")
    if facts.firewall is None:
        return skip("this user may not read firewall rules")
    closed = [(port, rule) for port in facts.public_ports if (rule := closing_rule(facts.firewall, port))]
    if closed:
        return fail("closed", *(f"port {port}: {rule}" for port, rule in closed), port=str(closed[0][0]))
    return ok("no rule of this host drops the axon's port")


def closing_rule(rules: tuple[str, ...], port: int) -> str:
    """The first rule of ``iptables -S INPUT`` or of an nft input chain that turns new connections to the port away."""
    policy = next((rule for rule in rules if rule.split()[:2] == ["-P", "INPUT"]), "")
    for rule in rules:
        words = rule.split()
        if words[:2] == ["-A", "INPUT"] and _concerns(rule, port):
            if words[-1] == "ACCEPT" or "-j ACCEPT" in rule:
                return ""
            if "-j DROP" in rule or "-j REJECT" in rule:
                return rule
        if f"tcp dport {port} " in f"{rule} " and ("drop" in words or "reject" in words):
            return rule
        if f"tcp dport {port} " in f"{rule} " and "accept" in words:
            return ""
    return policy if policy.endswith("DROP") else ""


def _concerns(rule: str, port: int) -> bool:
    if "--ctstate" in rule or "-i lo" in rule or "-p udp" in rule or "-p icmp" in rule or " -s " in rule:
        return False
    return f"--dport {port} " in f"{rule} " or ("--dport" not in rule and "--dports" not in rule)


def judge_reach(facts: HostFacts) -> Judgement:
    """The view from a node: not quite that of a validator, but from outside."""
    axon = facts.axon
    if not facts.is_miner:
        return skip("a validator serves no axon")
    if not axon.address:
        return skip("the public address is not known: set bittensor.external_ip")
    if not axon.peer:
        return skip("no node was there to call from")
    if axon.outcome == "open":
        return ok(f"{axon.peer} reaches {axon.address}")
    if axon.outcome == "not_listening":
        return skip("the port could not be opened for the call, and no engine listens on it")
    said = f"{axon.peer} calls {axon.address}: {axon.outcome}"
    if axon.outcome == "refused":
        if axon.bound_host in {"127.0.0.1", "::1", "localhost"}:
            return fail("loopback", said, f"validator_comms.host is {axon.bound_host}")
        return fail("refused", said)
    if axon.outcome == "timeout":
        return fail("dropped", said)
    return skip(f"{axon.peer} could not make the call: {axon.outcome}")


def judge_key(facts: HostFacts) -> Judgement:
    """The key that the miner logs in with."""
    if not facts.is_miner:
        return skip("a validator makes its keys itself")
    if facts.key_trouble:
        return fail(facts.key_trouble, facts.key_said, path=facts.key_path)
    return ok(facts.key_said)


def judge_old_miner(facts: HostFacts) -> Judgement:
    """Two miners on one hotkey undo each other."""
    if not facts.old_miner:
        return ok("no deployed miner runs or starts here")
    if any(not line.startswith("unit ") for line in facts.old_miner):
        return fail("running", *facts.old_miner, old_unit=facts.old_unit)
    return warn("enabled", *facts.old_miner, old_unit=facts.old_unit)


def _is_old_miner(holder: str) -> bool:
    lower = holder.lower()
    return "miner" in lower and ("basilica" in lower or "basilca" in lower) and "basilica-tui" not in lower


def _check(
    name: str, title: str, meaning: str, judge: Callable[[HostFacts], Judgement], *causes: Cause
) -> Check[HostFacts]:
    return Check(f"host.{name}", Scope.HOST, title, meaning, judge, causes)


CHECKS: tuple[Check[HostFacts], ...] = (
    _check(
        "os",
        "The operating system is recent",
        "old systems have old OpenSSH and TLS",
        judge_os,
        Cause("not_linux", "the engine runs on Linux only", advice="use a Linux host"),
        Cause("old_release", "the release is older than the network's guide asks", advice="upgrade the system"),
    ),
    _check(
        "cores",
        "There are enough cores",
        "answers to validators come late",
        judge_cores,
        Cause("few", "too few cores for the fleet", advice="add cores, or split the fleet over two miners"),
    ),
    _check(
        "memory",
        "There is enough memory",
        "the kernel kills the engine when none is left",
        judge_memory,
        Cause("little", "less memory than an engine needs", advice="add memory or swap"),
    ),
    _check(
        "disk",
        "The data directory has space",
        "without space grants cannot be written, so nobody is let in",
        judge_disk,
        Cause("full", "the file system is nearly full", advice="free space there, or move engine.data_dir"),
    ),
    _check("python", "Python is recent", "the engine needs 3.11", judge_python),
    _check(
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
    _check(
        "clock",
        "The clock is right",
        "validators refuse signatures that are five minutes off",
        judge_clock,
        Cause("off", "this host's clock is off, by what everybody else says", ("host.ntp",)),
        Cause("unsynchronised", "nothing keeps the clock in time", ("host.ntp",)),
    ),
    _check(
        "ports",
        "The ports are free",
        "the engine does not start while others hold its ports",
        judge_ports,
        Cause("taken", "another program listens on the port", ("host.free_port",)),
        Cause(
            "deployed_miner",
            "the deployed miner still runs and holds the port",
            ("host.take_over", "host.stop_old_miner"),
        ),
        Cause("forbidden", "the port is below 1024 and this user is not root", ("host.free_port",)),
        Cause(
            "foreign",
            "the address to bind belongs to no interface of this host",
            advice="bind 0.0.0.0, and put the public address into bittensor.external_ip",
        ),
    ),
    _check(
        "dns",
        "Names have addresses",
        "without them neither chain nor nodes are found",
        judge_dns,
        Cause("no_resolver", "no name server is configured", advice="put a name server into /etc/resolv.conf"),
        Cause("silent", "the name servers do not answer", advice="check the network and /etc/resolv.conf"),
        Cause("unknown", "one name is wrong", advice="correct the name in the configuration"),
    ),
    _check(
        "firewall",
        "The firewall here lets validators in",
        "validators cannot connect",
        judge_firewall,
        Cause("closed", "a rule on this host turns connections to the axon's port away", ("host.open_port",)),
    ),
    _check(
        "axon_reach",
        "The axon is reached from outside",
        "a miner that nobody reaches earns nothing",
        judge_reach,
        Cause("loopback", "the door listens on loopback only", ("config.listen_everywhere",)),
        Cause(
            "refused",
            "the advertised address answers, and not on this port: a wrong address, or no port forwarding",
            advice="compare bittensor.external_ip and axon_port with the router's forwarding",
        ),
        Cause(
            "dropped",
            "a firewall between drops the packets",
            advice="open the port here and in the provider's firewall",
        ),
    ),
    _check(
        "ssh_key",
        "The miner's SSH key is usable",
        "without it no node can be reached",
        judge_key,
        Cause("missing", "there is no such file", ("host.key_generate",)),
        Cause("unreadable", "this user may not read it", advice="run as its owner, or chown the file"),
        Cause("open_to_others", "other users can read it, so it is refused", ("host.key_chmod",)),
        Cause("passphrase", "it is protected by a passphrase", advice="use a key without one: ssh-keygen -p -f FILE"),
        Cause("not_a_key", "it is no private key", advice="name the private key, not the .pub file"),
    ),
    _check(
        "old_miner",
        "No other miner runs here",
        "two miners with one hotkey undo each other's work",
        judge_old_miner,
        Cause("running", "the deployed miner runs", ("host.take_over", "host.stop_old_miner")),
        Cause("enabled", "the deployed miner starts at the next boot", ("host.stop_old_miner",)),
    ),
)
