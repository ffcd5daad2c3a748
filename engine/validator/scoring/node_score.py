"""A single node's score, by both profiles."""

from __future__ import annotations

from typing import Literal

from engine.scores.documented_score import FULL_PART, SSH_PART, documented_score
from engine.validator.scoring.facts import NodeFacts

Binary = Literal["disabled", "failed", "passed"]

DEPLOYED_SSH_SCORE = 0.8
DEPLOYED_BINARY_WEIGHT = 0.8


def documented_node_score(facts: NodeFacts) -> float:
    """Half the SSH success rate, half the last full validation; a node never fully validated has no second half."""
    return documented_score(facts.ssh, facts.last_full_ok)


def explain_documented_node_score(facts: NodeFacts) -> str:
    """The formula with its numbers, one line."""
    full = {True: "passed", False: "failed", None: "never done"}[facts.last_full_ok]
    return (
        f"score {SSH_PART:g} × {facts.ssh.passed}/{facts.ssh.total} logins + {FULL_PART:g} × "
        f"{int(bool(facts.last_full_ok))} (last full validation {full}) = {documented_node_score(facts):.4f}"
    )


def deployed_node_score(
    *, ssh_ok: bool, binary: Binary, binary_score: float = 0.0, weight: float = DEPLOYED_BINARY_WEIGHT
) -> float:
    """The score in a deployed verification row; it does not feed the weights, the pass ratio does.

    ``weight`` is ``verification.score_weight``, the part of the attestation program's own score.
    """
    if not ssh_ok:
        return 0.0
    if binary == "disabled":
        return DEPLOYED_SSH_SCORE
    if binary == "failed":
        return DEPLOYED_SSH_SCORE * 0.5
    return min(1.0, max(0.0, DEPLOYED_SSH_SCORE * (1.0 - weight) + binary_score * weight))
