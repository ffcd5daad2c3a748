"""What a check of a node left behind, and the counts that scores are made of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Tier = Literal["full", "lightweight"]

PASS_WINDOW_S = 3 * 3600.0
"""Deployed: the pass ratio looks back three hours."""

SSH_WINDOW_S = 24 * 3600.0
"""Documented: the texts name no window for the SSH success rate; a day is 144 lightweight checks."""


@dataclass(frozen=True, slots=True)
class CheckLog:
    """One stored check. ``ok`` is its success flag, ``ssh_ok`` whether the login worked, ``at`` unix seconds.

    ``binary_recorded`` says whether the row's ``last_binary_validation`` column is filled; None stands for what
    the deployed writer does: only for a successful full validation.
    """

    at: float
    tier: Tier
    ok: bool
    ssh_ok: bool = True
    binary_recorded: bool | None = None

    @property
    def is_binary_recorded(self) -> bool:
        """Whether the deployed ramp query sees this row."""
        return self.tier == "full" and self.ok if self.binary_recorded is None else self.binary_recorded


@dataclass(frozen=True, slots=True)
class Rate:
    """``passed`` of ``total``; nothing tried is a rate of zero."""

    passed: int = 0
    total: int = 0

    @property
    def value(self) -> float:
        """The rate, 0 to 1."""
        return self.passed / self.total if self.total else 0.0

    def plus(self, *, passed: bool) -> Rate:
        """The rate after one more try."""
        return Rate(self.passed + passed, self.total + 1)


NOTHING_TRIED = Rate()


def ssh_rate(logs: Iterable[CheckLog], now: float, *, window_s: float = SSH_WINDOW_S) -> Rate:
    """How many of the window's checks could log in."""
    return _count(log.ssh_ok for log in logs if now - window_s <= log.at <= now)


def pass_rate(logs: Iterable[CheckLog], now: float, *, window_s: float = PASS_WINDOW_S) -> Rate:
    """How many of the window's checks passed; the deployed validator counts both tiers alike."""
    return _count(log.ok for log in logs if now - window_s <= log.at <= now)


def last_full_ok(logs: Iterable[CheckLog]) -> bool | None:
    """Whether the newest full validation passed; None without one."""
    newest: CheckLog | None = None
    for log in logs:
        if log.tier == "full" and (newest is None or log.at >= newest.at):
            newest = log
    return None if newest is None else newest.ok


def _count(results: Iterable[bool]) -> Rate:
    passed = total = 0
    for result in results:
        total += 1
        passed += result
    return Rate(passed, total)
