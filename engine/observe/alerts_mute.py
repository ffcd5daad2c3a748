"""Alerts that are shown and told to nobody, pure: silenced by a person, or about a node that is out of service."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from engine.control.models import NodeView
from engine.observe.alerts_book import AlertBook, Key

Muted = Literal["", "silence", "drain"]
"""Why nobody is told; empty when everybody is."""

OF_MAINTENANCE = frozenset({"ssh_success", "node_failing", "clock_skew", "node_disk", "hardware_changed", "shared_gpu"})
"""Rules about a node that say nothing new while its operator works on it. Who may enter a node is always told."""


def muted_by(key: Key, book: AlertBook, nodes: Mapping[str, NodeView], now: float) -> Muted:
    """Why an alert of this rule and subject is not told now."""
    if book.is_silenced(key, now):
        return "silence"
    rule, subject = key
    node = nodes.get(subject) if rule in OF_MAINTENANCE else None
    return "drain" if node is not None and node.drained_since is not None else ""
