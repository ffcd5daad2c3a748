"""The 14-day ramp: how long a node has succeeded without a break, and what part of its GPUs counts for that.

The two profiles read the same history differently. Documented: every failed check of any tier ends the run.
Deployed 2025-10: only rows whose binary column was written count, and the deployed writer fills it on success
alone, so a plain failure never ends the run there; deleting and re-creating the node's row does.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime

from engine.scores.history import CheckLog

RAMP_MINUTES = 20_160
DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Ramp:
    """A node's unbroken run. ``since`` is unix seconds, None while no run is open; ``minutes`` are whole ones."""

    since: float | None = None
    minutes: int = 0
    last_reset_at: float | None = None

    @property
    def multiplier(self) -> float:
        """The part of the node's GPUs that counts, 0 to 1."""
        return min(self.minutes / RAMP_MINUTES, 1.0)

    @property
    def full_at(self) -> float | None:
        """When the multiplier reaches (or reached) 1, in unix seconds; None while no run is open."""
        return None if self.since is None else self.since + RAMP_MINUTES * 60

    @property
    def full_on(self) -> date | None:
        """The UTC day of ``full_at``."""
        return None if self.full_at is None else datetime.fromtimestamp(self.full_at, UTC).date()

    def explain(self) -> str:
        """One line: minutes, percentage and the day of 100 %."""
        line = f"ramp {min(self.minutes, RAMP_MINUTES)} of {RAMP_MINUTES} min = {self.multiplier:.2%}"
        if self.multiplier >= 1.0:
            return line
        if self.full_on is None:
            return f"{line}; starts with the next success"
        return f"{line}; 100 % on {self.full_on.isoformat()} UTC"


@dataclass(frozen=True, slots=True)
class Forecast:
    """When one node reaches 100 % if nothing fails; ``full_at`` is None while no run is open."""

    node_id: str
    multiplier: float
    full_at: float | None
    full_on: date | None


FULL_RAMP = Ramp(since=None, minutes=RAMP_MINUTES)
"""What the deployed validator assumes when it cannot read a node's history: it fails open."""


def ramp_since(since: float | None, now: float, *, last_reset_at: float | None = None) -> Ramp:
    """The ramp of a run that began at ``since``; a start in the future counts as zero minutes."""
    minutes = 0 if since is None else max(0, int((now - since) // 60))
    return Ramp(since, minutes, last_reset_at)


def documented_ramp(logs: Iterable[CheckLog], now: float) -> Ramp:
    """Any success opens a run, any failure ends it; gaps without checks do not (they are not the node's failure)."""
    return _scan(logs, now)


def deployed_ramp(
    logs: Iterable[CheckLog], created_at: float | None, now: float, *, failed_full_resets: bool = False
) -> Ramp:
    """The ramp as the deployed query computes it.

    ``created_at`` is when the node's row was made; None means the row is missing, which counts as 100 %. Rows
    from the same UTC day as ``created_at`` count even when they are earlier: the deployed query compares a time
    with ``T`` in the middle with one that has a blank there. ``failed_full_resets`` turns on what was intended:
    a failed full validation ends the run although its binary column is empty.
    """
    if created_at is None:
        return FULL_RAMP
    first_day = created_at // DAY_S
    return _scan(
        (
            log
            for log in logs
            if log.at // DAY_S >= first_day
            and (log.is_binary_recorded or (failed_full_resets and log.tier == "full" and not log.ok))
        ),
        now,
    )


def _scan(logs: Iterable[CheckLog], now: float) -> Ramp:
    since: float | None = None
    last_reset_at: float | None = None
    for log in sorted(logs, key=lambda entry: entry.at):
        if not log.ok:
            if since is not None:
                last_reset_at = log.at
            since = None
        elif since is None:
            since = log.at
    return ramp_since(since, now, last_reset_at=last_reset_at)
