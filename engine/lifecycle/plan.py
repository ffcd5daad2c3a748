"""What a changed configuration means for an engine that runs: what it takes over, what waits for a restart. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from pydantic import BaseModel

from engine.config.common import RoleConfig
from engine.config.masking import mask_value
from engine.config.miner import MinerConfig, NodeConfig
from engine.config.show import text_of

Area = Literal["logging", "access", "health", "assignment", "nodes", "alerts"]
AREAS: tuple[Area, ...] = ("logging", "access", "health", "assignment", "nodes", "alerts")
"""In the order in which they are applied."""

NODES = "node_management.nodes"
LIVE: Mapping[str, Area] = {
    "logging.": "logging",
    "access.session_lifetime": "access",
    "access.node_deadline": "access",
    "access.reconcile_interval": "access",
    "access.revoke_on_exit": "access",
    "access.session_wrapper": "access",
    "access.ssh_certificates": "access",
    "ssh_session.adopt_leftovers": "access",
    "node_management.health_check_interval": "health",
    "node_management.health_check_timeout": "health",
    "node_management.max_retry_attempts": "health",
    "node_management.auto_recovery": "health",
    "validator_assignment.": "assignment",
    NODES: "nodes",
    "alerts.": "alerts",
}
"""Keys, and sections ending in a dot, that a running engine can take over; everything else needs a restart."""

C = TypeVar("C", bound=RoleConfig)
M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Change:
    """One difference. ``area`` is None where a restart is needed; texts are for people, secrets masked."""

    key: str
    area: Area | None
    old: str
    new: str

    @property
    def words(self) -> str:
        """``KEY: OLD -> NEW``."""
        return f"{self.key}: {self.old} -> {self.new}"


@dataclass(frozen=True, slots=True)
class ReloadPlan:
    """What a reload does: ``apply`` now, ``waiting`` for a restart."""

    apply: tuple[Change, ...]
    waiting: tuple[Change, ...]

    @property
    def restart_needed(self) -> tuple[str, ...]:
        """Keys whose change waits for a restart."""
        return tuple(change.key for change in self.waiting)

    @property
    def areas(self) -> tuple[Area, ...]:
        """What has to be told, in the order of telling."""
        touched = {change.area for change in self.apply}
        return tuple(area for area in AREAS if area in touched)


def plan_reload(old: RoleConfig, new: RoleConfig, areas: Collection[Area] = AREAS) -> ReloadPlan:
    """Compare what runs with what is asked for; an engine that cannot take over an area needs a restart for it."""
    changes = tuple(_changes(old, new, "", areas))
    return ReloadPlan(
        tuple(change for change in changes if change.area is not None),
        tuple(change for change in changes if change.area is None),
    )


def after_reload(old: C, new: C, areas: Collection[Area]) -> C:
    """What runs once these areas were applied: their values are the new ones, all others still the old ones."""
    return _mixed(old, new, "", areas)


def area_of(key: str) -> Area | None:
    """The area that takes a key over while the engine runs."""
    for known, area in LIVE.items():
        if key == known or (known.endswith(".") and key.startswith(known)):
            return area
    return None


def _changes(old: BaseModel, new: BaseModel, prefix: str, areas: Collection[Area]) -> Iterator[Change]:
    for name in type(old).model_fields:
        key, before, after = prefix + name, getattr(old, name), getattr(new, name)
        if isinstance(before, BaseModel) and isinstance(after, BaseModel):
            yield from _changes(before, after, f"{key}.", areas)
        elif before != after:
            area = area_of(key)
            area = area if area in areas else None
            if key == NODES:
                yield from _node_changes(before, after, area)
            else:
                yield Change(key, area, _text(key, before), _text(key, after))


def _node_changes(old: tuple[NodeConfig, ...], new: tuple[NodeConfig, ...], area: Area | None) -> Iterator[Change]:
    """By id, not by place in the file: moving an entry is no change."""
    before, after = ({node.node_id: node for node in nodes} for nodes in (old, new))
    for node_id, node in before.items():
        if node_id not in after:
            yield Change(f"{NODES}[{node.address}]", area, "served", "removed")
    for node_id, node in after.items():
        known = before.get(node_id)
        if known is None:
            yield Change(f"{NODES}[{node.address}]", area, "-", "added")
        elif known != node:
            for name in NodeConfig.model_fields:
                was, now = getattr(known, name), getattr(node, name)
                if was != now:
                    yield Change(f"{NODES}[{known.address}].{name}", area, _text(name, was), _text(name, now))


def _mixed(old: M, new: M, prefix: str, areas: Collection[Area]) -> M:
    update: dict[str, Any] = {}
    for name in type(old).model_fields:
        key, before, after = prefix + name, getattr(old, name), getattr(new, name)
        if isinstance(before, BaseModel) and isinstance(after, BaseModel):
            update[name] = _mixed(before, after, f"{key}.", areas)
        elif area_of(key) in areas:
            update[name] = after
    return old.model_copy(update=update)


def _text(key: str, value: object) -> str:
    return text_of(mask_value(key, value))


def is_same_role(old: RoleConfig, new: RoleConfig) -> bool:
    """Whether both are a miner's, or both a validator's."""
    return isinstance(old, MinerConfig) == isinstance(new, MinerConfig)
