"""How fast a local subnet lives."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pace:
    """Intervals in seconds. ``compressed`` makes the console say that hours pass in seconds."""

    health_s: float
    verification_s: float
    assignment_s: float
    session_lifetime_s: float
    reconcile_s: float
    block_s: float
    compressed: bool
    command_s: float = 60.0
    """What a validator gives a node for one command; a slow node takes longer."""

    @classmethod
    def demo(cls) -> Pace:
        """Access ends between two visits of a validator, so that the whole cycle is seen every few seconds."""
        return cls(
            health_s=3.0,
            verification_s=6.0,
            assignment_s=10.0,
            session_lifetime_s=4.0,
            reconcile_s=2.0,
            block_s=1.0,
            compressed=True,
            command_s=15.0,
        )

    @classmethod
    def normal_local(cls) -> Pace:
        """Brisk rounds, but access as long as on the network: each visit renews it."""
        return cls(
            health_s=10.0,
            verification_s=15.0,
            assignment_s=30.0,
            session_lifetime_s=3600.0,
            reconcile_s=10.0,
            block_s=2.0,
            compressed=True,
        )
