"""The rungs before a login: name, route, port, banner, protocol, host key."""

from __future__ import annotations

from collections.abc import Callable

from engine.diagnostics.model import Cause, Check, Judgement, Scope, fail, ok, skip, warn
from engine.diagnostics.node_facts import NodeFacts

_ORDER = ("resolve", "route", "tcp", "banner", "protocol", "host_key")
SLOW_LOGIN_S = 5.0


def _rung(step: str, good: Callable[[NodeFacts], Judgement]) -> Callable[[NodeFacts], Judgement]:
    """A rung fails when the way stopped there, and is fine when it went further."""

    def judge(facts: NodeFacts) -> Judgement:
        way = facts.way
        if way.stop == "key":
            return skip("host.ssh_key failed first: " + facts.key_trouble)
        if way.stop != step:
            return good(facts)
        return fail(way.detail, way.message, *_banner_words(facts), presented=way.host_key, pinned=way.host_key_pinned)

    return judge


def _banner_words(facts: NodeFacts) -> tuple[str, ...]:
    text = facts.way.banner.text
    return (f"the port says: {text}",) if text and facts.way.stop in ("banner", "protocol") else ()


def _resolved(facts: NodeFacts) -> Judgement:
    return ok(f"{facts.target.host} is {', '.join(facts.way.addresses[:4])}")


def _routed(facts: NodeFacts) -> Judgement:
    return ok(f"from {facts.way.source}" if facts.way.source else "a route exists")


def _connected(facts: NodeFacts) -> Judgement:
    return ok(f"{facts.target.address} accepts connections")


def _greeted(facts: NodeFacts) -> Judgement:
    return ok(facts.way.banner.text or facts.way.server_version or "an SSH server answers")


def _spoken(facts: NodeFacts) -> Judgement:
    return ok("SSH 2 with algorithms that both sides know")


def _known(facts: NodeFacts) -> Judgement:
    way = facts.way
    if not way.host_key:
        return ok("the host key is the pinned one") if way.stop in ("auth", "") else skip("the login got no so far")
    if way.host_key_is_new:
        return ok(f"{way.host_key}, pinned now at the first meeting")
    return ok(f"{way.host_key}, as pinned")


def _timely(facts: NodeFacts) -> Judgement:
    way = facts.way
    if way.stop == "login":
        return fail("slow" if way.detail == "slow" else "ended", way.message)
    if way.stop == "auth":
        return ok("the server judged our key")
    if way.login_s > SLOW_LOGIN_S:
        return warn("slow", f"the login took {way.login_s:.1f} s")
    return ok(f"logged in after {way.login_s:.2f} s" if way.login_s else "logged in")


CHECKS: tuple[Check[NodeFacts], ...] = (
    Check(
        "node.resolve",
        Scope.NODE,
        "The node's name has an address",
        "without an address nobody can call the node, and validators get the same name",
        _rung("resolve", _resolved),
        (
            Cause(
                "unknown", "no name server knows this name", advice="correct the host in miner.toml, or its DNS record"
            ),
            Cause(
                "silent", "the name servers of this host do not answer", advice="repair /etc/resolv.conf, or use the IP"
            ),
        ),
    ),
    Check(
        "node.route",
        Scope.NODE,
        "This host knows a way to the address",
        "packets to the node leave this host in no direction",
        _rung("route", _routed),
        (Cause("no_route", "the routing table has no entry for the address", advice="start the VPN or add the route"),),
        needs=("node.resolve",),
    ),
    Check(
        "node.tcp",
        Scope.NODE,
        "The SSH port accepts connections",
        "neither this miner nor a validator reaches the node",
        _rung("tcp", _connected),
        (
            Cause(
                "refused",
                "the host is up, but nothing listens on that port",
                ("node.port",),
                advice="start sshd there (systemctl start ssh), or correct the port in miner.toml",
            ),
            Cause(
                "timeout",
                "no answer at all: the host is down, the address is wrong, or a firewall drops the packets",
                advice="look at the node's console; allow the port in its firewall and in the provider's",
            ),
            Cause(
                "unreachable",
                "a router on the way says that the host cannot be reached",
                advice="check address and VPN",
            ),
        ),
        needs=("node.route",),
    ),
    Check(
        "node.banner",
        Scope.NODE,
        "An SSH server introduces itself",
        "something else listens on the port, or sshd turns connections away",
        _rung("banner", _greeted),
        (
            Cause(
                "silent",
                "the port accepts and says nothing: a stuck sshd, a port forwarder, or a tarpit",
                advice="look at sshd's log on the node; restart it",
            ),
            Cause(
                "closed",
                "the port closes at once: sshd cannot start sessions, or a wrapper refuses this address",
                advice="read sshd's log (journalctl -u ssh), /etc/hosts.deny and fail2ban on the node",
            ),
            Cause(
                "max_startups",
                "sshd drops logins because too many are pending (MaxStartups)",
                ("node.harden",),
                advice="give sshd MaxStartups 30:30:100",
            ),
            Cause(
                "penalty",
                "sshd punishes this address for failed logins (PerSourcePenalties)",
                advice="wait for the penalty's end, or exempt this address with PerSourcePenaltyExemptList",
            ),
            Cause("other", "the port is not an SSH server", ("node.port",), advice="correct the port in miner.toml"),
        ),
        needs=("node.tcp",),
    ),
    Check(
        "node.protocol",
        Scope.NODE,
        "Both sides share protocol and algorithms",
        "no login is possible, for validators as little as for us",
        _rung("protocol", _spoken),
        (
            Cause("old_protocol", "the server speaks only SSH 1", advice="upgrade OpenSSH on the node"),
            Cause(
                "no_algorithms",
                "the server offers no key exchange, cipher or host key that we know",
                advice="remove KexAlgorithms, Ciphers, MACs and HostKeyAlgorithms lines from its sshd_config",
            ),
        ),
        needs=("node.banner",),
    ),
    Check(
        "node.host_key",
        Scope.NODE,
        "The host key is the one that was pinned",
        "another key means another machine or somebody in between: all traffic to the node has stopped",
        _rung("host_key", _known),
        (
            Cause(
                "changed",
                "the node shows another host key than at the first meeting: reinstalled, or not the same",
                ("node.accept_host_key",),
                advice="compare both fingerprints with the node's console",
            ),
            Cause(
                "file",
                "the file of pinned keys cannot be read or written, so no node is trusted",
                advice="make known_hosts in the engine's data directory readable and writable for its user",
            ),
        ),
        needs=("node.protocol",),
    ),
    Check(
        "node.login",
        Scope.NODE,
        "A login ends within its time",
        "validators give up after a few seconds",
        _timely,
        (
            Cause(
                "slow",
                "the login takes too long: an overloaded node, UseDNS without a resolver, or slow PAM modules",
                ("node.harden",),
                advice="set UseDNS no on the node and look at its load",
            ),
            Cause("ended", "the login ended for a reason that is not told", advice="read sshd's log on the node"),
        ),
        needs=("node.host_key",),
    ),
)
