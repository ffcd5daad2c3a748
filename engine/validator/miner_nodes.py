"""What a miner's discovery answer may contain, judged as the text of a stranger. Pure."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass

from engine.wire.messages import WireNode

MOST_NODES = 1024
"""No miner has more; what comes after is not read."""

_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,252}|:[0-9A-Fa-f:.]{1,60}")
_USERNAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")
_PORT = re.compile(r"[0-9]{1,5}")


@dataclass(frozen=True, slots=True)
class OfferedNode:
    """A node that a miner says is open to our key."""

    node_id: str
    host: str
    port: int
    username: str
    certificate: str = ""
    """An OpenSSH user certificate, as it was sent; judged by ``engine.validator.papers``, like the next."""
    host_certificate: str = ""


def usable_nodes(offered: Iterable[WireNode]) -> tuple[tuple[OfferedNode, ...], int]:
    """The nodes that can be logged in to, without repetitions, and how many others were dropped."""
    nodes: dict[str, OfferedNode] = {}
    dropped = 0
    for wire in offered:
        node = usable_node(wire) if len(nodes) < MOST_NODES else None
        if node is None or node.node_id in nodes:
            dropped += 1
        else:
            nodes[node.node_id] = node
    return tuple(nodes.values()), dropped


def usable_node(wire: WireNode) -> OfferedNode | None:
    """None for a node whose id is no UUID or whose address could not be anybody's."""
    if not (_PORT.fullmatch(wire.port) and 0 < int(wire.port) < 65536):
        return None
    if not _HOST.fullmatch(wire.host) or not _USERNAME.fullmatch(wire.username):
        return None
    try:
        node_id = str(uuid.UUID(wire.node_id)) if len(wire.node_id) == 36 else None
    except ValueError:
        node_id = None
    if node_id is None:
        return None
    return OfferedNode(node_id, wire.host, int(wire.port), wire.username, wire.certificate, wire.host_certificate)


def printable(text: str, most: int = 200) -> str:
    """A stranger's words, fit for a log line."""
    return "".join(character if " " <= character <= "~" else "?" for character in text[:most])
