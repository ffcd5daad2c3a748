"""Which verification a node gets now, and whether it gets one at all. Pure.

The rule about age is the deployed one: a full verification is due when the last passed one is older than
``node_validation_interval``, not younger. Whatever cannot be decided is decided as full.
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.scores.history import Tier

LIVE = ("online", "verified")


@dataclass(frozen=True, slots=True)
class History:
    """What is known of a node before a check. Times are Unix seconds; None stands for never."""

    status: str | None = None
    """None when the validator does not hold the node."""
    full_ok_at: float | None = None
    gpus: int = 0
    """GPUs that count for the node."""
    is_rented: bool = False
    rental_ended_at: float | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """The tier, and the rule that chose it."""

    tier: Tier
    reason: str


UNKNOWN = History()


def decide(history: History, now: float, interval_s: float) -> Decision:
    """The deployed decision table, first match wins."""
    if history.is_rented:
        return Decision("lightweight", "the node is rented")
    reason = _why_full(history, now, interval_s)
    return Decision("full", reason) if reason else Decision("lightweight", "the last full verification is recent")


def _why_full(history: History, now: float, interval_s: float) -> str:
    full_ok_at, ended_at = history.full_ok_at, history.rental_ended_at
    if history.status not in LIVE:
        return "the node is new" if history.status is None else f"the node is {history.status}"
    if full_ok_at is None:
        return "it never passed a full verification"
    if now - full_ok_at > interval_s:
        return "the last full verification is too old"
    if ended_at is not None and ended_at > full_ok_at:
        return "a rental ended since the last full verification"
    return "" if history.gpus else "no GPU counts for it"
