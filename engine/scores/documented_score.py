"""A node's score by the documents: half the logins, half the last full validation."""

from __future__ import annotations

from engine.scores.history import Rate

SSH_PART = 0.5
FULL_PART = 0.5


def documented_score(ssh: Rate, last_full_ok: bool | None) -> float:
    """Half the SSH success rate, half the last full validation; a node never fully validated has no second half."""
    return SSH_PART * ssh.value + FULL_PART * bool(last_full_ok)
