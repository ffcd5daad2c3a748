"""Who may read what: scopes of keys, and a miner's right to its own."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from engine.config.validator import RouteGroup

Scope = Literal["read", "config", "rentals"]
SCOPES: tuple[Scope, ...] = ("read", "config", "rentals")
"""``read``: miners, nodes, GPUs, verifications, rentals. ``config``: the configuration, its secrets masked.
``rentals``: entering and ending rentals."""
OF_MINERS: frozenset[RouteGroup] = frozenset({"miners", "nodes", "gpus", "verification"})


GROUPS: Mapping[str, RouteGroup] = {
    "health": "health",
    "miners": "miners",
    "nodes": "nodes",
    "gpu-profiles": "gpus",
    "gpu-categories": "gpus",
    "verification": "verification",
    "rentals": "rentals",
    "config": "config",
}
"""The group in ``api.open`` by the first word of the path."""


def group_of(path: str) -> RouteGroup | None:
    """The group that a path belongs to; None for the documentation and for what is not there."""
    return GROUPS.get(path[1:].partition("/")[0])


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. ``id`` tells callers apart; ``hotkey`` is set for a miner that signed its request."""

    id: str = "anonymous"
    scopes: frozenset[Scope] = frozenset()
    hotkey: str | None = None

    @property
    def is_anonymous(self) -> bool:
        """Whether nothing was proved."""
        return self.id == "anonymous"


ANONYMOUS = Caller()


@dataclass(frozen=True, slots=True)
class Sight:
    """What an admitted caller sees; ``only`` narrows it to one miner."""

    only: str | None = None

    def covers(self, hotkey: str) -> bool:
        """Whether this miner's data may be told."""
        return self.only is None or self.only == hotkey


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why not: 401 asks for credentials, 403 says that these do not suffice."""

    status: Literal[401, 403]
    detail: str


def decide(caller: Caller, group: RouteGroup, opened: Collection[RouteGroup]) -> Sight | Refusal:
    """What this caller may see of a group of routes."""
    if group in opened:
        return Sight()
    needed: Scope = "config" if group == "config" else "read"
    if needed in caller.scopes:
        return Sight()
    if caller.is_anonymous:
        return Refusal(
            401, f"{group} needs an API key with the scope {needed}, or a request signed by a registered miner's hotkey"
        )
    if caller.hotkey is not None and group in OF_MINERS:
        return Sight(only=caller.hotkey)
    return Refusal(403, f"{group} needs the scope {needed}")


def decide_change(caller: Caller, scope: Scope) -> Refusal | None:
    """Why this caller may change nothing; None when it may. What is open to be read is not open to be changed."""
    if scope in caller.scopes:
        return None
    if caller.is_anonymous:
        return Refusal(401, f"changes need an API key with the scope {scope}")
    return Refusal(403, f"changes need the scope {scope}")
