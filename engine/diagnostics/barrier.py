"""Which rule of a host's own firewall turns callers of a port away, and the one rule that lets them in. Pure.

A rule that names addresses (a ban) or a port on purpose is a person's: it is told, and no way around it is offered.
Opening adds one rule for one port; nothing is taken away, so nobody who gets in now is locked out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from engine.probes.firewall import FirewallFacts

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_HANDLE = re.compile(r" # handle (\d+)$")
_SSH = 22
_DEPTH = 16
"""How far chains are followed; the kernel refuses loops."""
_NO_CHAINS = {"RETURN", "LOG", "NFLOG", "MARK", "CONNMARK", "TCPMSS", "SET", "AUDIT", "TRACE", "CT", "NOTRACK"}
_SBIN = "PATH=$PATH:/usr/sbin:/sbin"


@dataclass(frozen=True, slots=True)
class Barrier:
    """The rule, and the commands that open the port before it and take that back; empty where a person decides."""

    tool: str
    rule: str
    add: str = ""
    remove: str = ""
    """Empty where ``add`` prints how it is undone, since only it knows."""
    why_not: str = ""
    is_ban: bool = False
    """The rule names addresses: others get in."""

    @property
    def data(self) -> dict[str, str]:
        """What a fix must know of it."""
        return {"tool": self.tool, "add": self.add, "remove": self.remove, "why_not": self.why_not}


@dataclass(frozen=True, slots=True)
class _Rule:
    """What one rule does with new TCP connections to the port from anywhere."""

    text: str
    verdict: str = ""
    """``accept``, ``drop``, or empty: it does not concern them, or only under conditions that are not known here."""
    is_ban: bool = False
    """It drops, and names the sources."""
    jump: str = ""
    """The chain that such connections are handed to."""
    returns: bool = False
    """Such connections go back to the chain that they came from."""


def find_barrier(facts: FirewallFacts, port: int, *, is_v6: bool) -> Barrier | None:
    """The tool that manages the rules is asked first; None where no rule is found that explains it."""
    if any(line == "Status: active" for line in facts.ufw):
        return _ufw(facts.ufw, port)
    if facts.firewalld:
        return _firewalld(facts.firewalld, port)
    lines, program = (facts.ip6tables, "ip6tables") if is_v6 else (facts.iptables, "iptables")
    found = [_iptables(lines, program, port), _nft(facts.nft, port, is_v6=is_v6, has_iptables=bool(lines))]
    told = [one for one in found if one is not None]
    return next((one for one in told if one.add), told[0] if told else None)


def _ufw(lines: Sequence[str], port: int) -> Barrier | None:
    names = {str(port), f"{port}/tcp", *(("OpenSSH",) if port == _SSH else ())}
    own = [line for line in lines if line.split(" ", 1)[0] in names and "(v6)" not in line]
    anywhere = [line for line in own if re.search(r"\bAnywhere\b", line)]
    against = [line for line in anywhere if re.search(r"\b(DENY|REJECT|LIMIT)\b", line)]
    if against:
        return Barrier("ufw", against[0], why_not="that rule of ufw names the port on purpose: see ufw status numbered")
    if anywhere or not any("deny (incoming)" in line or "reject (incoming)" in line for line in lines):
        return None
    said = next(line for line in lines if "(incoming)" in line)
    return Barrier("ufw", said, f"{_SBIN} ufw allow {port}/tcp\n", f"{_SBIN} ufw delete allow {port}/tcp\n")


def _firewalld(lines: Sequence[str], port: int) -> Barrier | None:
    values = {key: value.split() for key, _, value in (line.partition(":") for line in lines)}
    is_open = f"{port}/tcp" in values.get("ports", []) or (port == _SSH and "ssh" in values.get("services", []))
    if is_open or values.get("target") == ["ACCEPT"]:
        return None
    verbs = {"add": "", "remove": ""}
    for verb in verbs:
        verbs[verb] = f"firewall-cmd --{verb}-port={port}/tcp\nfirewall-cmd --permanent --{verb}-port={port}/tcp\n"
    return Barrier("firewalld", f"zone {lines[0]}: port {port} is not open", verbs["add"], verbs["remove"])


def _iptables(lines: Sequence[str], program: str, port: int) -> Barrier | None:
    rule = f"INPUT -p tcp --dport {port} -j ACCEPT"
    remove = f"{_SBIN} {program} -D {rule}\n"
    ban = ""
    chains: dict[str, list[str]] = {}
    for line in lines:
        if (words := line.split())[:1] == ["-A"] and len(words) > 2:
            chains.setdefault(words[1], []).append(line)

    def read(line: str) -> _Rule:
        return _read_iptables(line, port)

    for number, line in enumerate(chains.get("INPUT", ()), 1):
        found = _follow(read(line), chains, read)
        if found.verdict == "accept":
            return None
        if found.verdict == "drop":
            add = f"{_SBIN} {program} -I {rule.replace('INPUT', f'INPUT {number}')}\n"
            return Barrier(program, found.text, add, remove)
        ban = ban or (found.text if found.is_ban else "")
    policy = next((line for line in lines if line.startswith("-P INPUT ")), "")
    if policy.endswith("DROP"):
        return Barrier(program, policy, f"{_SBIN} {program} -A {rule}\n", remove)
    return _banned(program, ban)


def _follow(rule: _Rule, chains: Mapping[str, Sequence[str]], read: Callable[[str], _Rule], depth: int = 0) -> _Rule:
    """What becomes of the connections in the chains that a rule hands them to; without a verdict they come back."""
    if not rule.jump or depth > _DEPTH:
        return rule
    ban = ""
    for line in chains.get(rule.jump, ()):
        found = _follow(read(line), chains, read, depth + 1)
        if found.verdict:
            return found
        if found.returns:
            break
        ban = ban or (found.text if found.is_ban else "")
    return _Rule(ban or rule.text, is_ban=bool(ban))


def _banned(tool: str, rule: str) -> Barrier | None:
    return (
        Barrier(tool, rule, why_not="that rule names addresses: whether they are let in, a person decides", is_ban=True)
        if rule
        else None
    )


def _read_iptables(line: str, port: int) -> _Rule:
    words = line.split()
    target = next((words[words.index(word) + 1] for word in ("-j", "-g") if word in words[:-1]), "")
    verdict = {"ACCEPT": "accept", "DROP": "drop", "REJECT": "drop"}.get(target, "")
    protocol = words[words.index("-p") + 1] if "-p" in words[:-1] else "tcp"
    known = re.sub(r"-m (tcp|conntrack|state|comment|multiport)\b|--comment (\"[^\"]*\"|\S+)", "", line)
    is_else = " -m " in known or "-i lo" in line or protocol not in ("tcp", "all")
    states = re.search(r"--(?:ctstate|state) (\S+)", line)
    ports = re.search(r"--dports? (\S+)", line)
    if is_else or (states and "NEW" not in states[1]) or (ports and not _covers(ports[1].split(","), port, ":")):
        return _Rule(line)
    if re.search(r"(?<!! )-s ", line):
        return _Rule(line, is_ban=verdict == "drop")
    if re.search(r"! -s ", line) and verdict == "accept":
        return _Rule(line)
    jump = "" if verdict or target in _NO_CHAINS else target
    return _Rule(line, verdict, jump=jump, returns=target == "RETURN")


def _nft(lines: Sequence[str], port: int, *, is_v6: bool, has_iptables: bool) -> Barrier | None:
    """Every chain that is hooked to input decides by itself: the first that drops is opened."""
    ban = ""
    every = list(_chains(lines))

    def read(line: str) -> _Rule:
        return _read_nft(line, port)

    for family, table, chain, body in every:
        if not _is_input(body) or family not in ("inet", "ip6" if is_v6 else "ip"):
            continue
        if has_iptables and (table, chain) == ("filter", "INPUT"):
            continue  # iptables' own, which does not like other hands in it
        where = f"{family} {table} {chain}"
        named = f"table {family} {table}, chain {chain}"
        accept = f"tcp dport {port} accept"
        beside = {name: rules for kind, owner, name, rules in every if (kind, owner) == (family, table)}
        for line in body:
            found = _follow(read(line), beside, read)
            handle = _HANDLE.search(line)
            ban = ban or (found.text if found.is_ban else "")
            if found.verdict == "accept":
                break
            if found.verdict == "drop" and handle:
                add = _nft_script(f"insert rule {where} handle {handle[1]} {accept}", where)
                return Barrier("nft", f"{named}: {found.text}", add)
        else:
            if "policy drop" in body[0]:
                return Barrier("nft", f"{named}: policy drop", _nft_script(f"add rule {where} {accept}", where))
    return _banned("nft", _HANDLE.sub("", ban))


def _nft_script(words: str, where: str) -> str:
    """The new rule's handle is printed by nft; with it exactly that rule goes again."""
    return (
        f"set -e\n{_SBIN}\nmade=$(nft --echo --handle {words})\n"
        f'echo "undo {_SBIN} nft delete rule {where} handle ${{made##*# handle }}"\n'
    )


def _chains(lines: Sequence[str]) -> Iterator[tuple[str, str, str, list[str]]]:
    """Family, table, name and lines of every chain; of a base chain its hook and policy come first."""
    family = table = chain = ""
    body: list[str] = []
    for raw in lines:
        line = _HANDLE.sub("", raw)
        words = line.split()
        if words[:1] == ["table"] and len(words) > 2:
            family, table = words[1], words[2]
        elif words[:1] == ["chain"] and len(words) > 1:
            chain, body = words[1], []
        elif line == "}" and chain:
            if all(_NAME.fullmatch(name) for name in (family, table, chain)):
                yield family, table, chain, body
            chain = ""
        elif chain:
            body.append(raw)


def _is_input(body: Sequence[str]) -> bool:
    return bool(body) and "hook input" in body[0] and "type filter" in body[0]


def _read_nft(line: str, port: int) -> _Rule:
    text = _HANDLE.sub("", line)
    plain = re.sub(r'"[^"]*"', "", text)
    words = plain.split()
    verdict = next((word for word in words if word in ("accept", "drop", "reject")), "")
    verdict = "drop" if verdict == "reject" else verdict
    states = re.search(r"ct state (.+?)(?= (?:counter|accept|drop|reject|tcp|ip|ip6|meta|log)\b|$)", plain)
    ports = re.search(r"tcp dport (!= )?(\{[^}]*\}|\S+)", plain)
    is_else = (
        bool(re.search(r"\b(udp|icmp|icmpv6|limit|meter|fib|daddr|sport)\b|@|ct status", plain))
        or bool(re.search(r"(?:iif|iifname) \"lo\"", text))
        or ("l4proto" in words and "tcp" not in plain.replace("tcp dport", ""))
    )
    if is_else or "hook" in words or (states and "new" not in states[1]):
        return _Rule(text)
    if ports and _covers(re.sub(r"[{}\s]", "", ports[2]).split(","), port, "-") == bool(ports[1]):
        return _Rule(text)
    source = re.search(r"saddr (!= )?", plain)
    if source and not source[1]:
        return _Rule(text, is_ban=verdict == "drop")
    if source and verdict == "accept":
        return _Rule(text)
    jump = re.search(r"\b(?:jump|goto) (\S+)", plain)
    return _Rule(text, verdict, jump=jump[1] if jump else "", returns=words[-1:] == ["return"])


def _covers(parts: Sequence[str], port: int, dash: str) -> bool:
    """Whether a port is among numbers and ranges; the name that nft may print for 22 counts."""
    for part in parts:
        low, _, high = part.replace("ssh", str(_SSH)).partition(dash)
        if low.isdigit() and int(low) <= port <= (int(high) if high.isdigit() else int(low)):
            return True
    return False
