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
        said = (way.message, *_banner_words(facts), *_other_port_words(facts))
        port = str(facts.other_port or "")
        return fail(way.detail, *said, presented=way.host_key, pinned=way.host_key_pinned, port=port)

    return judge


def _banner_words(facts: NodeFacts) -> tuple[str, ...]:
    text = facts.way.banner.text
    return (f"the port says: {text}",) if text and facts.way.stop in ("banner", "protocol") else ()


def _other_port_words(facts: NodeFacts) -> tuple[str, ...]:
    return (f"an SSH server answers on port {facts.other_port} of that address",) if facts.other_port else ()


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
        is_past = way.stop in ("auth", "") or (way.stop, way.detail) == ("login", "ended")
        return ok("the host key is the pinned one") if is_past else skip("the login got no so far")
    if way.host_key_is_new:
        return ok(f"{way.host_key}, pinned now at the first meeting")
    return ok(f"{way.host_key}, as pinned")


def _timely(facts: NodeFacts) -> Judgement:
    way = facts.way
    if way.stop == "login":
        return fail("slow", way.message) if way.detail == "slow" else _ended(facts)
    if way.stop == "auth":
        return ok("the server judged our key")
    if way.login_s > SLOW_LOGIN_S:
        return warn("slow", f"the login took {way.login_s:.1f} s")
    return ok(f"logged in after {way.login_s:.2f} s" if way.login_s else "logged in")


def _ended(facts: NodeFacts) -> Judgement:
    """PAM's refusal looks like a cut line from outside; an administrator's look tells the two apart."""
    said, admin = facts.way.message, facts.admin
    if admin is None:
        return fail("ended", said, *((facts.admin_trouble,) if facts.admin_trouble else ()))
    if admin.nologin and admin.uid != 0:
        return fail("nologin_file", said, admin.nologin)
    if admin.is_expired:
        return fail("expired", said, f"the account {facts.target.username} has expired, and PAM refuses it")
    if admin.setting("usepam") == "yes":
        return fail("pam", said, "UsePAM is yes; the account is not expired, and there is no nologin file")
    return fail("ended", said)


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
            Cause(
                "nologin_file",
                "a nologin file keeps everybody but root out: the node boots, shuts down or is being serviced",
                advice="wait for the boot to end; a file that was left behind is removed with rm",
            ),
            Cause("expired", "the account has expired, so PAM refuses it", ("node.unlock",)),
            Cause(
                "pam",
                "a PAM module refuses the account",
                advice="read journalctl -u ssh, /etc/pam.d/sshd and /etc/security/access.conf on the node",
            ),
            Cause(
                "ended",
                "the node hung up while it judged the account: PAM refuses it, or the line was cut",
                advice="run doctor with --admin USER, or read sshd's log on the node",
            ),
        ),
        needs=("node.host_key",),
    ),
)
