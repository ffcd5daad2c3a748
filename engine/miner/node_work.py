"""What the reconciler remembers of each node between visits, and what a visit achieved."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from engine.errors import BasilicaError
from engine.miner.backoff import Backoff
from engine.miner.certifying import Papers
from engine.miner.grants import needs_work
from engine.store.records import Grant


@dataclass(frozen=True, slots=True)
class NodeOutcome:
    """What one reconciliation achieved: grants whose key was read back, or why not."""

    node_id: str
    in_place: frozenset[str] = frozenset()
    refused: Mapping[str, str] = field(default_factory=dict)
    """Grant ids whose key must not be written there, with the reason."""
    papers: Mapping[str, Papers] = field(default_factory=dict)
    """What to give those of ``in_place`` that enter by certificate."""
    error: BasilicaError | None = None
    """Why the node does not fully match its rows; some keys may be in place all the same."""


@dataclass(slots=True)
class Limits:
    """What a reload may change; seconds."""

    node_deadline_s: float
    interval_s: float
    audit_interval_s: float
    adopt_leftovers: bool


@dataclass(slots=True)
class Work:
    """One node's memory between reconciliations."""

    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    """One visit at a time: held from beginning to end, through an enrolment that takes minutes."""
    file: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Rows and key file are being changed: held for that only, and after ``turn`` by whoever takes both."""
    backoff: Backoff = field(default_factory=Backoff)
    audited_at: float | None = None
    taken: int = 0
    """How often keys were taken off beside a visit: rows that it has read before are stale."""
    is_visited: bool = False
    """Whether a visit in the background is under way or waits for its turn."""
    is_relieved: bool = False
    """Whether ended grants are being taken off beside that visit."""

    def is_audit_due(self, at: float, audit_interval_s: float) -> bool:
        """Whether the node has not been looked at whole for so long; ``at`` is monotonic."""
        return self.audited_at is None or at - self.audited_at >= audit_interval_s

    def is_due(self, grants: Sequence[Grant], now: float, at: float, audit_interval_s: float) -> bool:
        """Whether something is to be done on the node at the time ``now``, monotonic ``at``."""
        if not self.backoff.is_ready(at):
            return False
        return any(needs_work(g, now) for g in grants) or self.is_audit_due(at, audit_interval_s)
