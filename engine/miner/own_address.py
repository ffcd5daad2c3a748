"""This host's public address, where no interface has it: what the nodes see our logins come from. Asks nobody else."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Sequence

from engine.errors import SshFailure
from engine.ssh.pool import NodePool
from engine.ssh.target import NodeTarget

WITNESSES = 5
"""Nodes that are asked at once."""
_TIMEOUT_S = 10.0


def agreed_address(seen: Sequence[str], *, only_v4: bool) -> str | None:
    """The public address that every node saw which saw one; None when they do not agree.

    A node on this host's own network sees a private address and says nothing. A guest of a node could make it lie,
    so one dissenting word is enough for no.
    """
    found = set()
    for text in seen:
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            continue
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        address = mapped or address
        if address.is_global and not address.is_multicast and not (only_v4 and address.version == 6):
            found.add(str(address))
    return found.pop() if len(found) == 1 else None


async def address_seen_by(pool: NodePool, nodes: Sequence[NodeTarget], *, only_v4: bool) -> str | None:
    """Ask some nodes where our connection to them comes from; those that do not answer are passed over."""

    async def ask(node: NodeTarget) -> str:
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                result = await pool.run(
                    node, 'printf %s "${SSH_CONNECTION%% *}"', timeout_s=_TIMEOUT_S, max_output_bytes=256
                )
        except (SshFailure, TimeoutError):
            return ""
        return result.stdout.decode("ascii", "replace")

    answers = await asyncio.gather(*(ask(node) for node in nodes[:WITNESSES]))
    return agreed_address(answers, only_v4=only_v4)
