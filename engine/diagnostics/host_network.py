"""Checks of the way in: ports, names, firewall, and what a node sees of the advertised address."""

from __future__ import annotations

from engine.diagnostics.barrier import find_barrier
from engine.diagnostics.host_facts import HostFacts, host_check
from engine.diagnostics.model import Cause, Check, Judgement, fail, ok, skip


def judge_ports(facts: HostFacts) -> Judgement:
    """Every port is free, or held by the engine itself."""
    for port in facts.ports:
        if port.is_free or port.is_ours:
            continue
        said = f"{port.key} {port.host}:{port.port}"
        if port.trouble == "forbidden":
            return fail(
                "forbidden",
                f"{said}: only root may use ports below 1024",
                key=port.key,
                host=port.host,
                free=str(port.free or ""),
            )
        if port.trouble == "foreign":
            return fail("foreign", f"{said}: that address is not this host's")
        is_old = _is_old_miner(port.holder) or any(
            one.runs and port.port in one.ports for one in facts.old_miner.containers
        )
        cause = "deployed_miner" if is_old else "taken"
        same = "same" if port.port in facts.public_ports else ""
        return fail(
            cause,
            f"{said} is held by {port.holder or 'a process that this user may not see'}",
            key=port.key,
            host=port.host,
            free=str(port.free or ""),
            published=same,
            **facts.old_miner.data,
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
    """A hint only: rules of this host that turn callers of the axon's port away. A ban of some addresses is none."""
    if not facts.is_miner:
        return skip("a validator serves no axon")
    if facts.firewall is None:
        return skip("this user may not read firewall rules")
    for port in facts.public_ports:
        found = find_barrier(facts.firewall, port, is_v6=False)
        if found is not None and not found.is_ban:
            return fail("closed", f"port {port}: {found.rule}", port=str(port), **found.data)
    return ok("no rule of this host drops the axon's port")


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


def _is_old_miner(holder: str) -> bool:
    lower = holder.lower()
    return "miner" in lower and ("basilica" in lower or "basilca" in lower) and "basilica-tui" not in lower


CHECKS: tuple[Check[HostFacts], ...] = (
    host_check(
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
    host_check(
        "dns",
        "Names have addresses",
        "without them neither chain nor nodes are found",
        judge_dns,
        Cause("no_resolver", "no name server is configured", advice="put a name server into /etc/resolv.conf"),
        Cause("silent", "the name servers do not answer", advice="check the network and /etc/resolv.conf"),
        Cause("unknown", "one name is wrong", advice="correct the name in the configuration"),
    ),
    host_check(
        "firewall",
        "The firewall here lets validators in",
        "validators cannot connect",
        judge_firewall,
        Cause(
            "closed",
            "a rule on this host turns connections to the axon's port away",
            ("host.open_port",),
            advice="allow the port in the firewall's own configuration",
        ),
    ),
    host_check(
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
)
