"""The pattern list of ``from="..."`` in authorized_keys: addresses, networks, wildcards and negations."""

from __future__ import annotations

import ipaddress
import re


def is_peer_listed(peer: str, patterns: str) -> bool:
    """Whether the address ``peer`` is listed and by no pattern excluded (``!``).

    A network with host bits set or an empty pattern spoils the whole list: then nobody is listed, as in sshd.
    """
    address = ipaddress.ip_address(peer)
    listed = False
    for item in patterns.split(","):
        pattern = item.removeprefix("!")
        if not pattern:
            return False
        try:
            matches = _matches(address, pattern)
        except ValueError:
            return False
        if matches and item.startswith("!"):
            return False
        listed = listed or matches
    return listed


def _matches(address: ipaddress.IPv4Address | ipaddress.IPv6Address, pattern: str) -> bool:
    if "/" in pattern:
        return address in ipaddress.ip_network(pattern, strict=True)
    wildcard = "".join({"*": ".*", "?": "."}.get(char, re.escape(char)) for char in pattern.lower())
    return re.fullmatch(wildcard, str(address)) is not None
