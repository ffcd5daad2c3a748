"""What a node says of its name and addresses, in words. Pure, and informational: all of it is the node's own word."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

SHOWN = 8


def network_evidence(hostname: str, addresses: Sequence[str], machine_id: str, endpoint_host: str) -> str:
    """Name, addresses and machine; whether one of them is public, and where it is reached if that is none of them."""
    found = [address for text in addresses if (address := _address(text)) is not None]
    words = [hostname or "no name", " ".join(str(one) for one in found[:SHOWN]) or "no address"]
    if len(found) > SHOWN:
        words.append(f"and {len(found) - SHOWN} more")
    reached = _address(endpoint_host)
    if not any(one.is_global for one in found):
        at = f", reached at {endpoint_host}" if reached is not None and reached not in found else ""
        words.append(f"(no public address of its own{at})")
    words.append(f"machine {machine_id[:16]}" if machine_id else "no machine id")
    return " ".join(words)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
