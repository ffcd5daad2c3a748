"""Which deployed miner a file was written for, by its keys. Pure.

What a key meant differs from era to era: some were read once and ignored later, and act again here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Tag = Literal["E0", "D1", "D2", "D3", "B", "R2", "ours"]


@dataclass(frozen=True, slots=True)
class Era:
    """One generation of the deployed miner."""

    tag: Tag
    words: str

    @property
    def has_door(self) -> bool:
        """Whether validators called this miner; R2 called the validator instead."""
        return self.tag != "R2"


_ERAS: Mapping[Tag, Era] = {
    era.tag: era
    for era in (
        Era("E0", "July to October 2025, with an executor agent on every GPU host"),
        Era("D1", "early October 2025, the first with direct SSH"),
        Era("D2", "October to November 2025, one assigned validator"),
        Era("D3", "November 2025 to February 2026, with a price for each node"),
        Era("B", "the bidding branch of January 2026"),
        Era("R2", "since February 2026, the miner registers with the validator"),
        Era("ours", "this program"),
    )
}
_E0_SECTIONS = ("server", "executor_management", "remote_executor_deployment")


def detect_era(data: Mapping[str, Any]) -> Era:
    """The newest miner that every key of the file fits; D2 for a file that says too little to tell."""
    return _ERAS[_tag(data)]


def nodes_of(data: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The entries of ``node_management.nodes`` that are tables."""
    section = _table(data, "node_management")
    nodes = section.get("nodes")
    return [node for node in nodes if isinstance(node, dict)] if isinstance(nodes, list) else []


def _tag(data: Mapping[str, Any]) -> Tag:
    nodes, comms = nodes_of(data), _table(data, "validator_comms")
    assignment, bidding = _table(data, "validator_assignment"), _table(data, "bidding")
    if data.keys() & {"access", "engine", "health", "alerts"}:
        return "ours"
    return _late(data, nodes, comms, bidding) or _early(data, nodes, assignment)


def _late(
    data: Mapping[str, Any],
    nodes: list[Mapping[str, Any]],
    comms: Mapping[str, Any],
    bidding: Mapping[str, Any],
) -> Tag | None:
    if "bid_grpc_port" in data or "strategy" in bidding or any("extra_mount_path" in node for node in nodes):
        return "R2"
    if "validator_bid_endpoint" in comms or "enabled" in bidding or "static_prices" in bidding:
        return "B"
    if any("gpu_category" in node for node in nodes):
        return "R2" if not comms else "B"
    return "D3" if any("hourly_rate_per_gpu" in node for node in nodes) else None


def _early(data: Mapping[str, Any], nodes: list[Mapping[str, Any]], assignment: Mapping[str, Any]) -> Tag:
    if not nodes and _is_e0(data):
        return "E0"
    is_d1 = assignment.get("strategy") == "round_robin" or "skip_registration" in _table(data, "bittensor")
    return "D1" if is_d1 else "D2"


def _is_e0(data: Mapping[str, Any]) -> bool:
    has_old_keys = "auth" in _table(data, "validator_comms") or "miner_executor_key_path" in _table(data, "ssh_session")
    return has_old_keys or any(section in data for section in _E0_SECTIONS)


def ssh_hosts(value: object) -> Iterator[Mapping[str, Any]]:
    """Tables in an E0 section that say how to reach a host by SSH, wherever they are nested."""
    if isinstance(value, Mapping):
        if isinstance(value.get("host"), str) and isinstance(value.get("username"), str):
            yield value
            return
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from ssh_hosts(inner)


def _table(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = data.get(name)
    return value if isinstance(value, dict) else {}
