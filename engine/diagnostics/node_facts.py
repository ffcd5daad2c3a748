"""Everything that is known about one node when its checks are judged. Frozen; None is "was not looked at"."""

from __future__ import annotations

from dataclasses import dataclass, field

from engine.probes.account import AccountFacts
from engine.probes.administered import AdminFacts
from engine.probes.container import ContainerFacts
from engine.probes.host import HostFacts
from engine.probes.way import WayFacts
from engine.ssh.target import NodeTarget


@dataclass(frozen=True, slots=True)
class NodeLimits:
    """What the configuration expects of a node."""

    disk_min_bytes: int = 10**12
    clock_skew_max_s: float = 30.0
    extra_mount_path: str = ""
    gpu_count: int | None = None
    clients: int = 4
    """SSH sessions that come at the same time: ours, and those of validators."""


@dataclass(frozen=True, slots=True)
class PeerView:
    """What another node saw when it called this one's SSH port: ``open``, ``refused``, ``timeout``, or a trouble."""

    peer: str = ""
    outcome: str = ""


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """One visit. ``trouble`` is what ended it after the login."""

    target: NodeTarget
    way: WayFacts
    limits: NodeLimits = NodeLimits()
    own_keys: frozenset[str] = frozenset()
    """Base64 public halves of the keys that the engine logs in with."""
    account: AccountFacts | None = None
    host: HostFacts | None = None
    container: ContainerFacts | None = None
    admin: AdminFacts | None = None
    admin_trouble: str = ""
    """Why the administrator's look did not happen."""
    peer: PeerView = field(default_factory=PeerView)
    trouble: str = ""
    key_trouble: str = ""
    """Why the miner's own key cannot be used; then no node was called."""
    other_port: int | None = None
    """Another port of the same address where an SSH server introduces itself; looked for where ours is none."""
    own_offset_s: float = 0.0
    """How far this host's clock is off by what all nodes say: then no node is to blame."""
