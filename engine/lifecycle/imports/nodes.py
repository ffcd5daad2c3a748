"""The nodes of a deployed miner, with the ids that validators know them by. Pure.

An id that changes restarts the 14-day ramp, so each keeps the one it has: where another rule derived it, it is
written into the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from engine.config.check_common import host_key
from engine.config.miner import MinerConfig, NodeConfig
from engine.identity.node_ids import node_id_for, node_id_from_text
from engine.lifecycle.imports.era import Era, ssh_hosts

_E0_SECTIONS = ("remote_executor_deployment", "executor_management")


@dataclass(frozen=True, slots=True)
class ImportedNode:
    """One node. ``old_id`` is empty where validators never knew it by one that can be kept; ``new_id`` where the
    entry is not taken over."""

    address: str
    old_id: str
    new_id: str
    why: str
    values: Mapping[str, object] = field(default_factory=dict)

    @property
    def is_taken(self) -> bool:
        """Whether the node is in the new file."""
        return bool(self.new_id)


def import_nodes(data: Mapping[str, Any], era: Era, config: MinerConfig) -> tuple[ImportedNode, ...]:
    """Each entry of the old file with its old and its new id, duplicates and impossible ones named."""
    if era.tag == "E0":
        return _from_executors(data)
    prices = _prices(data)
    seen: dict[tuple[str, int], str] = {}
    nodes = []
    for entry in config.node_management.nodes:
        place = (host_key(entry.host), entry.port)
        old_id = _old_id(entry, era)
        if place in seen:
            why = f"the same host and port as {seen[place]}: one machine is one node here"
            nodes.append(ImportedNode(entry.address, old_id, "", why))
            continue
        seen[place] = entry.address
        nodes.append(_node(entry, old_id, era, prices))
    return tuple(nodes)


def _old_id(entry: NodeConfig, era: Era) -> str:
    # Since 2026 validators derive the id from the host alone, as the miner sent it.
    return node_id_from_text(entry.host) if era.tag == "R2" else node_id_for(entry.username, entry.host, entry.port)


def _node(entry: NodeConfig, old_id: str, era: Era, prices: Mapping[str, float]) -> ImportedNode:
    values: dict[str, object] = {"host": entry.host, "port": entry.port, "username": entry.username}
    why = "derived from user, host and port, as before"
    if old_id != node_id_for(entry.username, entry.host, entry.port):
        values["id"] = old_id
        why = "was derived from the host alone: written down, so that it stays"
    for name in ("additional_opts", "hourly_rate_per_gpu", "gpu_category", "gpu_count", "extra_mount_path"):
        value = getattr(entry, name)
        if value is not None:
            values[name] = value
    price = prices.get((entry.gpu_category or "").upper())
    if price is not None and entry.hourly_rate_per_gpu is None:
        values["hourly_rate_per_gpu"] = price
    return ImportedNode(entry.address, old_id, old_id, why, values)


def _prices(data: Mapping[str, Any]) -> dict[str, float]:
    """US dollars for each category: of the released miner since 2026, or of the bidding branch before it."""
    table: Any = data.get("bidding")
    for path in (("strategy", "static", "static_prices"), ("static_prices",)):
        found = table
        for part in path:
            found = found.get(part) if isinstance(found, dict) else None
        if isinstance(found, dict):
            return {k.upper(): float(v) for k, v in found.items() if isinstance(v, int | float)}
    return {}


def _from_executors(data: Mapping[str, Any]) -> tuple[ImportedNode, ...]:
    nodes: list[ImportedNode] = []
    known: set[str] = set()
    for section in _E0_SECTIONS:
        for host in ssh_hosts(data.get(section)):
            port = host.get("port", 22)
            values = {"host": host["host"], "port": port if isinstance(port, int) else 22, "username": host["username"]}
            node_id = node_id_for(values["username"], values["host"], values["port"])
            address = f"{values['username']}@{values['host']}:{values['port']}"
            if address not in known:
                known.add(address)
                why = "was reached through an agent; as a node it begins anew"
                nodes.append(ImportedNode(address, "", node_id, why, values))
    if not nodes:
        management = data.get("executor_management")
        executors = management.get("executors") if isinstance(management, dict) else None
        for executor in executors if isinstance(executors, list) else ():
            if isinstance(executor, dict):
                address = str(executor.get("grpc_address") or executor.get("id") or "an executor")
                why = "was reached through an agent: add it by hand with an SSH user, host and port"
                nodes.append(ImportedNode(address, "", "", why))
    return tuple(nodes)
