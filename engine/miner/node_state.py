"""A node's health as a pure rule over its last checks: suspect after one failure, unhealthy after three.

``stopped`` is different in kind: the node's host key changed, and only a person may end that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["unknown", "healthy", "suspect", "unhealthy", "stopped"]
UNHEALTHY_AFTER = 3
HEALTHY_AFTER = 2
"""Passed checks in a row that an unhealthy node needs; a suspect one needs one."""


@dataclass(frozen=True, slots=True)
class Health:
    """What the rule remembers of one node."""

    state: State = "unknown"
    failures_in_row: int = 0
    passes_in_row: int = 0


def after_check(health: Health, *, ok: bool, host_key_changed: bool = False) -> Health:
    """The node's health after one more check."""
    if host_key_changed:
        return Health("stopped", health.failures_in_row + 1, 0)
    if ok:
        passes = health.passes_in_row + 1
        if health.state == "unhealthy" and passes < HEALTHY_AFTER:
            return Health("unhealthy", 0, passes)
        return Health("healthy", 0, passes)
    failures = health.failures_in_row + 1
    return Health("unhealthy" if failures >= UNHEALTHY_AFTER else "suspect", failures, 0)
