"""From an alert to the doctor: which check explains it, and which fix may repair it. Pure, and known to consoles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Remedy:
    """``check`` is what ``basilica-tui doctor`` calls it; ``fix`` is empty where only a person helps."""

    check: str
    fix: str = ""


REMEDIES: Mapping[str, Remedy] = {
    "ssh_success": Remedy("node.auth", "node.authorize"),
    "node_failing": Remedy("node.auth", "node.authorize"),
    "host_key_changed": Remedy("node.host_key", "node.accept_host_key"),
    "clock_skew": Remedy("node.clock", "node.ntp"),
    "node_disk": Remedy("node.disk"),
    "hardware_changed": Remedy("node.gpu", "config.gpu_count"),
    "key_drift": Remedy("access.strays", "access.remove_strays"),
    "axon_unreachable": Remedy("host.axon_reach", "config.listen_everywhere"),
    "no_validator": Remedy("host.axon_reach", "config.listen_everywhere"),
    "no_assignment": Remedy("chain.assigned", "config.threshold"),
    "assigned_silent": Remedy("chain.assigned"),
    "auth_success": Remedy("host.clock", "host.ntp"),
    "axon_mismatch": Remedy("chain.axon", "chain.serve_axon"),
    "key_stuck": Remedy("access.keys", "access.reconcile"),
    "not_registered": Remedy("chain.registered"),
    "chain_stale": Remedy("chain.endpoint"),
    "host_disk": Remedy("host.disk"),
    "wallet": Remedy("wallet.access", "wallet.chmod"),
    "weights_failed": Remedy("chain.permit"),
    "service_restarting": Remedy("service.active", "service.start"),
}


def fix_for(rule: str) -> Remedy | None:
    """The check and the fix for an alert's rule; None where the doctor has nothing to say."""
    return REMEDIES.get(rule)
