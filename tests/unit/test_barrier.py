"""Which rule of a node's firewall turns callers away, in the words of the tools that print rules."""

from __future__ import annotations

from typing import Any

import pytest

from engine.diagnostics.barrier import Barrier, find_barrier
from engine.probes.firewall import FirewallFacts, parse_firewall

UFW = ("Status: active", "Logging: on (low)", "Default: deny (incoming), allow (outgoing), disabled (routed)")
ZONE = ("public (active)", "target: default", "services: dhcpv6-client", "ports: 443/tcp", "rich rules:")


def nft(*rules: str, policy: str = "drop", family: str = "inet") -> tuple[str, ...]:
    """A ruleset with one chain at the input hook, and one elsewhere."""
    handled = [f"{rule} # handle {number}" for number, rule in enumerate(rules, 4)]
    return (
        f"table {family} filter {{ # handle 1",
        "chain forward { # handle 2",
        "type filter hook forward priority filter; policy drop;",
        "}",
        "chain input { # handle 3",
        f"type filter hook input priority filter; policy {policy};",
        *handled,
        "}",
        "}",
    )


def look(*, port: int = 22, is_v6: bool = False, **facts: Any) -> Barrier | None:
    """For one port."""
    return find_barrier(FirewallFacts(**facts), port, is_v6=is_v6)


@pytest.mark.parametrize(
    ("facts", "rule", "command"),
    [
        # ufw
        ({"ufw": (*UFW, "22/tcp ALLOW IN 10.0.0.1")}, UFW[2], "ufw allow 22/tcp"),
        ({"ufw": (*UFW, "22/tcp (v6) ALLOW IN Anywhere (v6)")}, UFW[2], "ufw allow 22/tcp"),
        ({"ufw": (*UFW, "22/tcp DENY IN Anywhere")}, "22/tcp DENY IN Anywhere", ""),
        # firewalld
        (
            {"firewalld": ZONE},
            "zone public (active): port 22 is not open",
            "firewall-cmd --permanent --add-port=22/tcp",
        ),
        # iptables: the guide's way, which lets the miner in and nobody else
        (
            {
                "iptables": (
                    "-P INPUT ACCEPT",
                    "-A INPUT -s 10.0.0.1/32 -p tcp -m tcp --dport 22 -j ACCEPT",
                    "-A INPUT -p tcp -m tcp --dport 22 -j DROP",
                )
            },
            "-A INPUT -p tcp -m tcp --dport 22 -j DROP",
            "iptables -I INPUT 2 -p tcp --dport 22 -j ACCEPT",
        ),
        (
            {"iptables": ("-P INPUT ACCEPT", "-A INPUT ! -s 10.0.0.1/32 -p tcp -m multiport --dports 22,80 -j REJECT")},
            "-A INPUT ! -s 10.0.0.1/32 -p tcp -m multiport --dports 22,80 -j REJECT",
            "iptables -I INPUT 1 -p tcp --dport 22 -j ACCEPT",
        ),
        (
            {"iptables": ("-P INPUT DROP", "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT")},
            "-P INPUT DROP",
            "iptables -A INPUT -p tcp --dport 22 -j ACCEPT",
        ),
        (
            {"iptables": ("-P INPUT ACCEPT", "-A INPUT -s 203.0.113.9/32 -j DROP")},
            "-A INPUT -s 203.0.113.9/32 -j DROP",
            "",
        ),
        # nftables
        (
            {"nft": nft('iifname "lo" accept', "ct state established,related accept")},
            "policy drop",
            "add rule inet filter input tcp dport 22",
        ),
        (
            {"nft": nft("ip saddr 10.0.0.1 tcp dport 22 accept", "counter packets 3 bytes 180 drop")},
            "counter packets 3 bytes 180 drop",
            "insert rule inet filter input handle 5 tcp dport 22 accept",
        ),
        (
            {"nft": nft("tcp dport 22 ip saddr != 10.0.0.1 drop", policy="accept")},
            "tcp dport 22 ip saddr != 10.0.0.1 drop",
            "insert rule inet filter input handle 4",
        ),
        (
            {"nft": nft("tcp dport { 22, 80-90 } reject", policy="accept", family="ip")},
            "reject",
            "rule ip filter input",
        ),
        ({"nft": nft("ip saddr { 203.0.113.0/24 } drop", policy="accept")}, "ip saddr { 203.0.113.0/24 } drop", ""),
    ],
)
def test_the_rule_is_named_and_opened_before_it(facts: dict[str, Any], rule: str, command: str) -> None:
    """One rule for one port where that is safe; a ban and a rule that names the port on purpose stay a person's."""
    found = look(**facts)
    assert found is not None
    assert found.rule.endswith(rule)
    assert command in found.add
    assert bool(found.add) is bool(command)
    assert bool(found.why_not) is not bool(command)


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"ufw": ("Status: inactive",)},
        {"ufw": (*UFW, "22/tcp ALLOW IN Anywhere")},
        {"ufw": (*UFW, "OpenSSH ALLOW IN Anywhere")},
        {"firewalld": (*ZONE[:2], "services: ssh")},
        {"iptables": ("-P INPUT DROP", "-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT")},
        {"iptables": ("-P INPUT ACCEPT", "-A INPUT -p tcp -m tcp --dport 2222 -j DROP")},
        {"iptables": ("-P INPUT ACCEPT", "-A INPUT -p udp -j DROP")},
        {"iptables": ("-P INPUT ACCEPT", "-A INPUT -p tcp -m tcp --dport 22 -m recent --rcheck --name x -j DROP")},
        {"iptables": ("-P INPUT ACCEPT", "-A INPUT -m conntrack --ctstate INVALID -j DROP")},
        {"nft": nft("tcp dport 22 accept")},
        {"nft": nft("tcp dport { 22, 80 } accept", "drop")},
        {"nft": nft("tcp dport != 22 drop", policy="accept")},
        {"nft": nft("ct state invalid drop", policy="accept")},
        {"nft": nft("tcp dport 22 ip saddr @banned drop", policy="accept")},
        {"nft": nft("drop", family="ip6")},
        {"nft": nft("drop", family="bridge")},
        {"iptables": ("-P INPUT ACCEPT",), "nft": ("table ip filter { # handle 1", "chain INPUT { # handle 2",
            "type filter hook input priority filter; policy drop;", "}", "}")},
        {"nft": ("table inet $(reboot) {", "chain input {", "type filter hook input priority 0; policy drop;", "}")},
    ],
)  # fmt: skip
def test_what_does_not_turn_everybody_away_is_no_barrier(facts: dict[str, Any]) -> None:
    """Open ports, other ports and protocols, conditions that are not known, iptables' own table, names for a shell."""
    assert look(**facts) is None


def test_another_port_and_protocol_have_rules_of_their_own() -> None:
    """The port that the miner uses counts, and ip6tables for an address of IPv6."""
    rules = ("-P INPUT DROP", "-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT")
    found = look(port=2200, iptables=rules)
    assert found is not None
    assert found.remove == "PATH=$PATH:/usr/sbin:/sbin iptables -D INPUT -p tcp --dport 2200 -j ACCEPT\n"
    assert look(port=2200, iptables=rules, is_v6=True) is None
    found = look(port=22, ip6tables=("-P INPUT DROP",), is_v6=True)
    assert found is not None
    assert "ip6tables -A INPUT" in found.add


def test_what_a_node_prints_is_bounded_and_harmless() -> None:
    """Control characters and endless output of a hostile node."""
    facts = parse_firewall({"nft": ["\x1b[2Jdrop" + "x" * 5000] * 9000, "ufw": [""]})
    assert len(facts.nft) <= 2000
    assert all(len(line) <= 300 and line.isprintable() for line in facts.nft)
    assert not facts.ufw
    assert facts.was_read


CHAINS = (
    "table inet own {",
    "chain ours {",
    "tcp dport 8091 accept # handle 5",
    "}",
    "chain others {",
    "ip saddr 10.0.0.1 accept # handle 6",
    "tcp dport 22 return # handle 7",
    "jump deeper # handle 8",
    "}",
    "chain deeper {",
    "reject with icmpx port-unreachable # handle 9",
    "}",
    "chain in {",
    "type filter hook input priority filter; policy accept;",
    "ct state established,related accept # handle 10",
    "meta l4proto tcp jump ours # handle 11",
    "goto others # handle 12",
    "}",
    "}",
)


def test_chains_of_nft_are_followed() -> None:
    """A verdict in a chain that is jumped to counts, what returns goes on, and the way in is opened before the jump."""
    found = look(port=8080, nft=CHAINS)

    assert found is not None
    assert "reject" in found.rule
    assert "insert rule inet own in handle 12 tcp dport 8080 accept" in found.add
    assert look(port=8091, nft=CHAINS) is None
    assert look(port=22, nft=CHAINS) is None


def test_chains_of_iptables_are_followed() -> None:
    """As nft's: several ports in one rule, chains within chains, a ban that is none of ours."""
    rules = (
        "-P INPUT DROP",
        "-A INPUT -j LOG",
        "-A INPUT -p tcp -j IN",
        "-A IN -s 203.0.113.0/24 -j DROP",
        "-A IN -p tcp -m multiport --dports 80,8000:8100 -j OPEN",
        "-A IN -p tcp -m tcp --dport 25 -j REJECT --reject-with icmp-port-unreachable",
        "-A IN -p tcp -m tcp --dport 26 -j RETURN",
        "-A OPEN -j ACCEPT",
    )
    assert look(port=8091, iptables=rules) is None
    refused = look(port=25, iptables=rules)
    assert refused is not None
    assert (refused.rule.split()[-1], refused.add.split(" ", 1)[1][:19]) == (
        "icmp-port-unreachable",
        "iptables -I INPUT 2",
    )
    by_policy = look(port=26, iptables=rules)
    assert by_policy is not None
    assert by_policy.rule == "-P INPUT DROP"


def test_chains_that_go_round_end() -> None:
    """Whatever a tool prints, reading it ends."""
    assert look(port=22, iptables=("-A INPUT -j A", "-A A -j B", "-A B -j A")) is None
