"""Everything that is known about this host when its checks are judged. Frozen."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from engine.diagnostics.container_facts import Container
from engine.diagnostics.model import Cause, Check, Judgement, Scope
from engine.probes.firewall import FirewallFacts

NODE_AGREEMENT_S = 5.0

KeyTrouble = Literal["", "missing", "unreadable", "open_to_others", "passphrase", "not_a_key"]


@dataclass(frozen=True, slots=True)
class PortFacts:
    """One port that the engine wants. ``holder`` is who listens there, ``is_ours`` whether that is an engine."""

    key: str
    host: str
    port: int
    is_free: bool
    trouble: str = ""
    """``taken``, ``forbidden``, ``foreign`` (the address is not this host's), or empty."""
    holder: str = ""
    is_ours: bool = False
    free: int | None = None
    """Another port that is free."""


@dataclass(frozen=True, slots=True)
class AxonView:
    """The advertised address as a node saw it."""

    address: str = ""
    peer: str = ""
    outcome: str = ""
    bound_host: str = ""


@dataclass(frozen=True, slots=True)
class OldMiner:
    """The deployed miner on this host. ``unit`` is empty where no unit of systemd starts it."""

    seen: tuple[str, ...] = ()
    is_running: bool = False
    is_enabled: bool = False
    unit: str = ""
    config: str = ""
    """The configuration that it reads, as this host names it."""
    unit_runs: bool = False
    """By systemd's word. A process of the miner's name may run elsewhere, which says nothing about the unit."""
    unit_enabled: bool = False
    loose: tuple[int, ...] = ()
    """Processes that belong to no unit and to no container."""
    containers: tuple[Container, ...] = ()
    source: str = ""
    """Where its set-up is read from: the configuration, or ``docker:NAME``."""
    own_unit: str = ""
    """Our own engine's unit, where it is active."""

    @property
    def data(self) -> dict[str, str]:
        """What a fix must know of it."""
        states = (("runs", self.unit_runs), ("enabled", self.unit_enabled))
        return {
            "old_unit": self.unit,
            "old_config": self.config,
            "old_source": self.source,
            "old_containers": json.dumps([one.data for one in self.containers if one.runs or one.starts_again]),
            "old_state": " ".join(word for word, holds in states if holds),
            "old_loose": " ".join(str(pid) for pid in self.loose),
            "own_unit": self.own_unit,
        }


@dataclass(frozen=True)
class HostFacts:
    """This host at one moment."""

    os_id: str = ""
    os_version: str = ""
    os_name: str = ""
    system: str = "Linux"
    cores: int = 1
    memory_bytes: int = 0
    python: str = ""
    nodes: int = 0
    data_dir: str = ""
    disk_free_bytes: int | None = None
    disk_min_bytes: int = 0
    files_soft: int = 0
    files_hard: int = 0
    kernel_synced: bool | None = None
    skews_s: tuple[float, ...] = ()
    """Clocks of the nodes minus ours."""
    chain_offset_s: float | None = None
    """The chain endpoint's clock minus ours, to the second."""
    skew_max_s: float = 30.0
    ports: tuple[PortFacts, ...] = ()
    unresolved: tuple[str, ...] = ()
    resolved: tuple[str, ...] = ()
    nameservers: tuple[str, ...] = ()
    firewall: FirewallFacts | None = None
    """Rules that this user may read; None when it may read none."""
    public_ports: tuple[int, ...] = ()
    key_path: str = ""
    key_trouble: KeyTrouble = ""
    key_said: str = ""
    old_miner: OldMiner = field(default_factory=OldMiner)
    axon: AxonView = field(default_factory=AxonView)
    is_miner: bool = True

    @property
    def offset_s(self) -> float | None:
        """How far this host's clock is off by what others say: the nodes' median where they agree, else the chain's."""
        if len(self.skews_s) >= 2:
            middle = statistics.median(self.skews_s)
            if all(abs(one - middle) <= NODE_AGREEMENT_S for one in self.skews_s):
                return -middle
        return -self.chain_offset_s if self.chain_offset_s is not None else None


def host_check(
    name: str, title: str, meaning: str, judge: Callable[[HostFacts], Judgement], *causes: Cause
) -> Check[HostFacts]:
    """One check of this host."""
    return Check(f"host.{name}", Scope.HOST, title, meaning, judge, causes)
