"""What an overview over several engines shows of one: small, and the same from a live state and from a snapshot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from engine.control.models import AlertView, EngineView, MinerView, NodeView, ServiceView, SessionView, VerificationView


class Seen(Protocol):
    """What is read of a live state or of the views of a snapshot."""

    @property
    def engine(self) -> EngineView: ...
    @property
    def nodes(self) -> Mapping[str, NodeView]: ...
    @property
    def sessions(self) -> Mapping[str, SessionView]: ...
    @property
    def services(self) -> Mapping[str, ServiceView]: ...
    @property
    def alerts(self) -> Mapping[str, AlertView]: ...
    @property
    def miners(self) -> Mapping[str, MinerView]: ...
    @property
    def verifications(self) -> Mapping[str, VerificationView]: ...


def summary_of(seen: Seen, at: float) -> dict[str, object]:
    """Role, network, how much of what it looks after is well, who is inside, what is wrong."""
    engine = seen.engine
    is_validator = engine.role == "validator"
    good = sum(v.state == "passed" for v in seen.verifications.values())
    healthy = good if is_validator else sum(n.state == "healthy" for n in seen.nodes.values())
    active = [a for a in seen.alerts.values() if a.active and not a.muted]
    inside = seen.miners.values() if is_validator else seen.sessions.values()
    return {
        "at": at,
        "role": engine.role,
        "name": engine.name,
        "build": engine.build,
        "network": engine.network,
        "netuid": engine.netuid,
        "uid": engine.uid,
        "started_at": engine.started_at,
        "stopping": engine.stopping,
        "chain_error": engine.chain_error,
        "healthy": healthy,
        "total": len(seen.verifications if is_validator else seen.nodes),
        "inside": sum(item.state in {"active", "answered"} for item in inside),
        "alerts": len(active),
        "errors": sum(a.level in {"error", "critical"} for a in active),
        "services_down": sum(s.state != "running" for s in seen.services.values()),
    }
