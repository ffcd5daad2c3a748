"""Rules of a host's firewall as its own tools print them: ufw, firewalld, iptables and nftables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from engine.probes.gpu import clean

SCRIPT = """s ufw; ufw status verbose 2>/dev/null | head -n 200
s firewalld; [ "$(firewall-cmd --state 2>/dev/null)" = running ] && firewall-cmd --list-all 2>/dev/null | head -n 100
s iptables; iptables -S 2>/dev/null | head -n 1000
s ip6tables; ip6tables -S 2>/dev/null | head -n 1000
s nft; nft --terse --handle list ruleset 2>/dev/null | head -n 2000
"""
"""For a shell in which ``s NAME`` begins a section; needs root."""
_LONGEST = 300


@dataclass(frozen=True, slots=True)
class FirewallFacts:
    """Lines of each tool, empty where it is not there or has nothing to say."""

    ufw: tuple[str, ...] = ()
    firewalld: tuple[str, ...] = ()
    iptables: tuple[str, ...] = ()
    ip6tables: tuple[str, ...] = ()
    nft: tuple[str, ...] = ()

    @property
    def was_read(self) -> bool:
        """Whether any tool answered."""
        return any((self.ufw, self.firewalld, self.iptables, self.ip6tables, self.nft))


def parse_firewall(sections: Mapping[str, Sequence[str]]) -> FirewallFacts:
    """From the sections of the script's output, which another machine wrote."""

    def of(name: str) -> tuple[str, ...]:
        return tuple(line for raw in sections.get(name, ())[:2000] if (line := clean(raw, _LONGEST)))

    return FirewallFacts(of("ufw"), of("firewalld"), of("iptables"), of("ip6tables"), of("nft"))
