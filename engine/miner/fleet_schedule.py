"""When a node is checked next. Pure.

A failing node keeps its pace for ``max_retry_attempts`` checks, so that its state settles soon; then the pauses double
up to ten minutes, and one success ends that. Without ``auto_recovery`` the engine then stops asking by itself.
"""

from __future__ import annotations

from dataclasses import dataclass

LONGEST_PAUSE_S = 600.0
HOST_EVERY_CHECKS = 10
HOST_EVERY_S = 300.0


@dataclass(frozen=True, slots=True)
class Schedule:
    """The configured pace."""

    interval_s: float
    max_retry_attempts: int = 3
    auto_recovery: bool = True

    def pause_s(self, failures_in_row: int) -> float | None:
        """Seconds until the next check; None is "when somebody asks"."""
        extra = failures_in_row - self.max_retry_attempts
        if failures_in_row == 0 or extra <= 0:
            return self.interval_s
        if not self.auto_recovery:
            return None
        return max(self.interval_s, min(self.interval_s * 2.0 ** min(extra, 30), LONGEST_PAUSE_S))

    def is_host_due(self, checks_since: int, seconds_since: float | None) -> bool:
        """Whether Docker, disk and sshd are asked about this time: every tenth check or five minutes, and at first."""
        return seconds_since is None or checks_since >= HOST_EVERY_CHECKS or seconds_since >= HOST_EVERY_S
