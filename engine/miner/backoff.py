"""When to try a failing node again: 2 s doubling to 5 minutes, reset by success. A rule with two numbers of memory."""

from __future__ import annotations

from dataclasses import dataclass

FIRST_RETRY_S = 2.0
LAST_RETRY_S = 300.0


@dataclass(slots=True)
class Backoff:
    """One node's retry schedule, by the monotonic clock."""

    failures: int = 0
    ready_at: float = 0.0

    def failed(self, at: float) -> float:
        """Note a failure; returns the seconds until the next attempt."""
        delay_s = min(FIRST_RETRY_S * 2.0**self.failures, LAST_RETRY_S)
        self.failures += 1
        self.ready_at = at + delay_s
        return delay_s

    def succeeded(self) -> None:
        """Forget the failures."""
        self.failures = 0
        self.ready_at = 0.0

    def is_ready(self, at: float) -> bool:
        """Whether the next attempt may be made."""
        return at >= self.ready_at
