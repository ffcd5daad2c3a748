"""A node's health over a series of checks, and the retry schedule."""

from __future__ import annotations

import pytest

from engine.miner.backoff import Backoff
from engine.miner.node_state import Health, after_check


@pytest.mark.parametrize(
    ("checks", "states"),
    [
        ("+", ["healthy"]),
        ("-", ["suspect"]),
        ("+-+", ["healthy", "suspect", "healthy"]),
        ("+---", ["healthy", "suspect", "suspect", "unhealthy"]),
        ("---++", ["suspect", "suspect", "unhealthy", "unhealthy", "healthy"]),
        ("---+-", ["suspect", "suspect", "unhealthy", "unhealthy", "suspect"]),
        ("+k", ["healthy", "stopped"]),
        ("k+", ["stopped", "healthy"]),
    ],
)
def test_states(checks: str, states: list[str]) -> None:
    """One failure makes a node suspect, three unhealthy, two passes heal it; a changed host key stops it."""
    health = Health()
    seen = []
    for check in checks:
        health = after_check(health, ok=check == "+", host_key_changed=check == "k")
        seen.append(health.state)

    assert seen == states


def test_backoff_doubles_to_five_minutes_and_forgets() -> None:
    """Retries slow down to one in five minutes; one success starts over."""
    backoff = Backoff()
    delays = [backoff.failed(0.0) for _ in range(9)]

    assert delays == [2, 4, 8, 16, 32, 64, 128, 256, 300]
    assert not backoff.is_ready(299.0)
    assert backoff.is_ready(300.0)
    backoff.succeeded()
    assert backoff.is_ready(0.0)
    assert backoff.failed(0.0) == 2
