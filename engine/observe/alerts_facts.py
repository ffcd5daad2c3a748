"""What the alert rules may look at, at one moment, and the small questions that they share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from engine.config.common import AlertsConfig
from engine.control.models import NodeView
from engine.control.state import LiveState
from engine.observe.alerts_book import Key

GB = 1_000_000_000
MIN_COUNT = 10
"""Fewer checks of a node, or authentications, are no rate."""
RATE_MARGIN = 2.0
DISK_MARGIN = 1.05


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What was found on this host. Empty texts: nothing is wrong there."""

    disk_path: str = ""
    disk_free_bytes: int | None = None
    wallet_problem: str = ""
    certificate_problem: str = ""
    certificate_ends_in_s: float | None = None


@dataclass(frozen=True, slots=True)
class KeyChange:
    """A validator came with another SSH key."""

    hotkey: str
    at: float
    old_fingerprint: str
    new_fingerprint: str


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that the rules may look at, at one moment."""

    now: float
    state: LiveState
    limits: AlertsConfig
    active: Mapping[Key, float] = field(default_factory=dict)
    """Since when."""
    acknowledged: Mapping[Key, float] = field(default_factory=dict)
    """When a person last did, also where that ended the alert."""
    authentications: tuple[int, int] = (0, 0)
    """Accepted and refused within the window."""
    crashes: Mapping[str, int] = field(default_factory=dict)
    """Per service within the window; a service that never crashed may be missing."""
    key_changes: tuple[KeyChange, ...] = ()
    stuck_keys: Mapping[str, int] = field(default_factory=dict)
    """Per node: keys that should have been gone for longer than the limit."""
    host: HostFacts = HostFacts()
    failed_targets: Mapping[str, str] = field(default_factory=dict)
    """Ways of telling that failed, with the reason; one that works again has an empty one."""
    chain_interval_s: float = 0.0
    """How often the chain is read when all is well."""

    def is_acknowledged(self, key: Key, since: float) -> bool:
        """Whether a person knows of what happened then; what happens after that is news again."""
        return self.acknowledged.get(key, float("-inf")) >= since

    def falls_below(self, key: Key, value: float, limit: float, cleared_at: float) -> bool:
        """Whether a value is too low; once it is, it must rise to ``cleared_at`` to be fine again."""
        return value < (cleared_at if key in self.active else limit)


def name_of(node: NodeView) -> str:
    """A node as its operator calls it."""
    return node.label or f"{node.username}@{node.host}:{node.port}"
